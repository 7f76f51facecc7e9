//! The protocol that tells all resources each time, "state of the world" in Envoy's words.

use super::resource::{Found, version_of};
use super::viewpoint::Viewpoint;
use super::{MAX_NAMES, Protocol, TYPE_URL, control_plane, is_about_endpoints};
use crate::doors::envoy::proto::envoy::service::discovery::v3::{
    DiscoveryRequest, DiscoveryResponse,
};
use crate::doors::envoy::subscribers::Subscription;

/// One Envoy, for as long as its stream lives.
pub(super) struct Whole {
    viewpoint: Viewpoint,
    subscription: Subscription,
    names: Vec<String>,
    /// Of the last push: a digest of what was in it.
    version: String,
    pushes: u64,
}

impl Whole {
    pub(super) fn new(viewpoint: Viewpoint, subscription: Subscription) -> Self {
        Self {
            viewpoint,
            subscription,
            names: Vec::new(),
            version: String::new(),
            pushes: 0,
        }
    }
}

impl Protocol for Whole {
    type Request = DiscoveryRequest;
    type Push = DiscoveryResponse;

    fn asked(&mut self, request: DiscoveryRequest) -> Option<DiscoveryResponse> {
        if !is_about_endpoints(&request.type_url) {
            return None;
        }
        if let Some(node) = &request.node {
            self.viewpoint.stands_at(node);
            self.subscription.presents_itself(&node.id, &node.cluster);
        }
        if !request.response_nonce.is_empty() {
            if request.response_nonce != self.pushes.to_string() {
                // About a push that another one has overtaken.
                return None;
            }
            match request.error_detail {
                Some(refused) => self.subscription.refused(&refused.message),
                None => self.subscription.took(&request.version_info),
            }
        }
        let mut names = request.resource_names;
        if names.len() > MAX_NAMES {
            self.subscription.wants_too_much(names.len(), MAX_NAMES);
            names.truncate(MAX_NAMES);
        }
        if names == self.names && self.pushes > 0 {
            return None;
        }
        self.names = names;
        self.viewpoint.look_again();
        self.version.clear();
        self.look()
    }

    fn look(&mut self) -> Option<DiscoveryResponse> {
        if self.names.is_empty() {
            return None;
        }
        let published = self.viewpoint.news()?;
        let survey = self
            .viewpoint
            .survey(&published, &self.names, &self.subscription);
        // What is not in a push stays as it is: Envoy takes away endpoints only when it is told of fewer.
        let resources: Vec<_> = survey
            .into_iter()
            .filter_map(|(_, found)| match found {
                Found::Listed(listed) => Some(listed.any),
                Found::Unusable | Found::Unknown => None,
            })
            .collect();
        let version = version_of(resources.iter().map(|any| any.value.as_slice()));
        if version == self.version {
            return None;
        }
        self.version.clone_from(&version);
        self.pushes += 1;
        self.subscription.pushed(&version);
        Some(DiscoveryResponse {
            version_info: version,
            resources,
            type_url: TYPE_URL.to_owned(),
            nonce: self.pushes.to_string(),
            control_plane: Some(control_plane()),
        })
    }
}
