//! The target of a request line, taken apart: `/path?query`, or with scheme and host before it (RFC 9112, section 3.2).

/// The parts of a target, as they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host of a target in absolute form; it counts before a `Host` header (RFC 9112, section 3.2.2).
    pub authority: Option<&'a str>,
    /// The path; never empty in absolute form.
    pub path: &'a str,
    /// What follows the first `?`.
    pub query: &'a str,
}

/// A target that no request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetFault {
    /// `http://user@host/`: "an indication that the authority is being obscured" (RFC 9110, section 4.2.4).
    #[error("names a user before its host")]
    User,
    /// `http:///path`.
    #[error("names a scheme and no host")]
    NoHost,
}

impl<'a> Target<'a> {
    /// Takes a target apart. Nothing is checked here but what tells the parts from each other.
    #[inline]
    pub fn split(target: &'a str) -> Result<Self, TargetFault> {
        if target.starts_with('/') {
            return Ok(Self::origin_form(target));
        }
        Self::absolute_form(target)
    }

    fn origin_form(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            authority: None,
            path,
            query,
        }
    }

    #[cold]
    fn absolute_form(target: &'a str) -> Result<Self, TargetFault> {
        let Some(rest) = after_scheme(target) else {
            return Ok(Self::origin_form(target));
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(TargetFault::User);
        }
        if authority.is_empty() {
            return Err(TargetFault::NoHost);
        }
        let Self { path, query, .. } = Self::origin_form(rest);
        Ok(Self {
            authority: Some(authority),
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }
}

/// What follows `http://` or `https://`, in any case (RFC 3986, section 3.1).
fn after_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["http", "https"];
    let is_known = known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> (Option<&str>, &str, &str) {
        let Target {
            authority,
            path,
            query,
        } = Target::split(target).unwrap();
        (authority, path, query)
    }

    #[test]
    fn both_forms_have_the_same_parts() {
        assert_eq!(parts("/a?b=1?c"), (None, "/a", "b=1?c"));
        assert_eq!(parts("HTTP://Host:80/a?b"), (Some("Host:80"), "/a", "b"));
        assert_eq!(parts("https://host"), (Some("host"), "/", ""));
        assert_eq!(parts("http://host?b"), (Some("host"), "/", "b"));
        assert_eq!(parts("*"), (None, "*", ""));
        assert_eq!(parts("/a://b"), (None, "/a://b", ""));
        // Not a scheme that is routed: its path is found out not to begin with a slash.
        assert_eq!(parts("ftp://host/a"), (None, "ftp://host/a", ""));
        assert_eq!(parts(""), (None, "", ""));
    }

    #[test]
    fn a_host_cannot_be_obscured() {
        assert_eq!(Target::split("http://a@b/"), Err(TargetFault::User));
        assert_eq!(Target::split("http:///a"), Err(TargetFault::NoHost));
    }
}
