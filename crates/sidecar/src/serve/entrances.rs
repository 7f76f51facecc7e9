//! The ways in at all doors, as the settings have them.

use std::sync::Arc;

use super::{methods, signposts};
use crate::identity::Access;
use crate::listen::entrance::Entrance;
use crate::listen::tls::Keys;
use crate::settings::Settings;
use crate::state::State;
use crate::state::doors::Door;
use crate::writer::{Credentials, CredentialsError};

/// Who may come in where.
#[derive(Debug)]
pub(super) struct Entrances {
    pub(super) access: Arc<Access>,
    keys: Option<Arc<Keys>>,
    credentials: Credentials,
    /// The doors that speak TLS.
    pub(super) secure: Vec<Door>,
}

impl Entrances {
    /// Reads keys and tokens for the first time.
    pub(super) fn of_settings(settings: &Settings) -> Result<Self, CredentialsError> {
        if settings
            .allow
            .iter()
            .any(|grant| grant.to.token().is_some())
        {
            for (door, address) in settings.doors_in_the_clear() {
                tracing::warn!(door = door.flag(), %address, "tokens are shown at this door without TLS, where others can read them on the way");
            }
        }
        let tls = settings.tls.as_ref();
        let credentials = Credentials::load(
            tls.map(|tls| tls.files.clone()),
            settings.tokens.clone(),
            settings.allow.clone(),
        )?
        .granted_by(settings.granting.clone());
        Ok(Self {
            access: credentials.access(),
            keys: credentials.keys(),
            credentials,
            secure: tls.map_or_else(Vec::new, |tls| tls.doors.clone()),
        })
    }

    /// For whoever looks at the files again.
    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// The way in at a door.
    pub(super) fn of(&self, door: Door, state: &Arc<State>) -> Entrance {
        Entrance {
            methods: match door {
                Door::Grpc => methods::grpc,
                Door::Http => methods::http,
                Door::Debug => methods::debug,
                Door::Admin => methods::admin,
            },
            access: Arc::clone(&self.access),
            keys: self.keys.clone().filter(|_| self.secure.contains(&door)),
            signpost: signposts::signpost(state, door),
        }
    }
}
