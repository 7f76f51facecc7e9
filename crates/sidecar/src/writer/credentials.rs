//! What callers are known by: the keys of TLS and the tokens, read from files and looked at again with all others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::Writer;
use super::files::{STEADY_PAUSE, STEADY_TRIES};
use super::store::read_regular;
use crate::clock;
use crate::identity::tokens::{MAX_FILE_BYTES, Tokens};
use crate::identity::{Access, Grant, grant};
use crate::listen::tls::{KeyError, KeyFiles, Keys, Look};
use crate::settings::Granting;
use crate::state::{CredentialsStatus, GrantsStatus, TlsStatus, TokensStatus};

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not those of TLS.
    #[error("tls: {0}")]
    Keys(#[source] KeyError),
    /// Not the tokens.
    #[error("tokens: {0}")]
    Tokens(String),
}

/// The credentials in force, and the files that they come from.
#[derive(Debug, Clone)]
pub struct Credentials {
    access: Arc<Access>,
    keys: Option<Arc<Keys>>,
    tokens: Option<PathBuf>,
    granting: Option<Granting>,
    /// Why files were refused when they were looked at last.
    keys_fault: Option<String>,
    tokens_fault: Option<String>,
    grants_fault: Option<String>,
}

/// What became of files that had changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// `tls`, `tokens` or `grants`.
    pub(crate) source: &'static str,
    /// Why they were refused; `None` where they are in force now.
    pub(crate) fault: Option<String>,
}

impl Credentials {
    /// Reads the files for the first time; without sound ones nothing is served.
    pub fn load(
        keys: Option<KeyFiles>,
        tokens: Option<PathBuf>,
        grants: Vec<Grant>,
    ) -> Result<Self, CredentialsError> {
        let keys = keys.map(|files| Keys::load(files, read_regular, unix_s()));
        let keys = keys.transpose().map_err(CredentialsError::Keys)?;
        let known = tokens.as_deref().map(read_tokens).transpose();
        let known = known.map_err(CredentialsError::Tokens)?;
        let grants = grant::with_defaults(grants);
        warn_of_unproven(&grants);
        Ok(Self {
            access: Access::new(grants, known.unwrap_or_default()),
            keys,
            tokens,
            granting: None,
            keys_fault: None,
            tokens_fault: None,
            grants_fault: None,
        })
    }

    /// The same, which look again at what is granted too.
    #[must_use]
    pub fn granted_by(self, granting: Option<Granting>) -> Self {
        Self { granting, ..self }
    }

    /// Who may do what.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access)
    }

    /// The keys of TLS, where there are any.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.clone()
    }

    /// Looks at the files again. What cannot be used changes nothing, and is told once.
    fn look(&mut self) -> Vec<Turn> {
        let turns = [
            self.look_at_keys(),
            self.look_at_tokens(),
            self.look_at_grants(),
        ];
        turns.into_iter().flatten().collect()
    }

    fn look_at_keys(&mut self) -> Option<Turn> {
        let fault = match self.keys.as_ref()?.look(unix_s()) {
            // The files of what is in force are there, so whatever was wrong is mended.
            Look::Same if self.keys_fault.is_none() => return None,
            Look::Same => None,
            Look::Changed(_) => {
                // Whose certificates are believed may have changed with them.
                self.access.turn();
                None
            }
            Look::Refused(error) => Some(with_causes(&error)),
        };
        turn("tls", fault, &mut self.keys_fault)
    }

    fn look_at_tokens(&mut self) -> Option<Turn> {
        let path = self.tokens.as_ref()?;
        let mut read = read_tokens(path);
        if read.as_ref().ok() != Some(&*self.access.tokens()) {
            // What has changed counts once it reads the same twice: it may still be written.
            for _ in 0..STEADY_TRIES {
                thread::sleep(STEADY_PAUSE);
                let again = read_tokens(path);
                if again == read {
                    break;
                }
                read = again;
            }
        }
        let fault = match read {
            Ok(tokens) if tokens == *self.access.tokens() && self.tokens_fault.is_none() => {
                return None;
            }
            Ok(tokens) => {
                self.access.set_tokens(tokens);
                None
            }
            Err(fault) => Some(fault),
        };
        turn("tokens", fault, &mut self.tokens_fault)
    }

    fn look_at_grants(&mut self) -> Option<Turn> {
        let granting = self.granting.as_ref()?;
        let in_force = self.access.grants();
        let mut read = read_grants(granting, &in_force);
        if read.as_ref().ok() != Some(&*in_force) {
            for _ in 0..STEADY_TRIES {
                thread::sleep(STEADY_PAUSE);
                let again = read_grants(granting, &in_force);
                if again == read {
                    break;
                }
                read = again;
            }
        }
        let fault = match read {
            Ok(grants) if grants == *in_force && self.grants_fault.is_none() => return None,
            Ok(grants) => {
                if grants != *in_force {
                    warn_of_unproven(&grants);
                    self.access.set_grants(grants);
                }
                None
            }
            Err(fault) => Some(fault),
        };
        turn("grants", fault, &mut self.grants_fault)
    }

    fn status(&self) -> CredentialsStatus {
        CredentialsStatus {
            tls: self.keys.as_ref().map(|keys| {
                let shown = keys.in_force();
                TlsStatus {
                    names: shown.names.clone(),
                    ends_epoch_s: shown.not_after_unix_s,
                    fault: self.keys_fault.clone(),
                }
            }),
            tokens: self.tokens.as_ref().map(|_path| TokensStatus {
                known: self.access.tokens().len(),
                missing: self.access.missing_tokens(),
                fault: self.tokens_fault.clone(),
            }),
            grants: self.granting.as_ref().map(|_granting| GrantsStatus {
                known: self.access.grants().len(),
                fault: self.grants_fault.clone(),
            }),
        }
    }
}

/// A turn that is to be told, unless it is the same fault as before.
fn turn(source: &'static str, fault: Option<String>, last: &mut Option<String>) -> Option<Turn> {
    if fault.is_some() && fault == *last {
        return None;
    }
    last.clone_from(&fault);
    Some(Turn { source, fault })
}

/// Says to whom something is granted in vain.
fn warn_of_missing(status: &CredentialsStatus) {
    let missing = status.tokens.iter().flat_map(|tokens| &tokens.missing);
    for name in missing {
        tracing::warn!(
            name,
            "something is granted to a token of this name, and there is none in the file of tokens"
        );
    }
}

/// Says who may change what is in force without having to prove who they are.
fn warn_of_unproven(grants: &[Grant]) {
    let open = grants
        .iter()
        .filter(|grant| grant.to.is_beyond() && !grant.to.is_proven());
    for grant in open.filter(|grant| grant.roles.change()) {
        tracing::warn!(%grant, "whoever reaches a door from there may change what is in force, without proof of who it is");
    }
}

fn read_grants(granting: &Granting, in_force: &[Grant]) -> Result<Vec<Grant>, String> {
    let given = granting.read().map_err(|error| with_causes(&error))?;
    let given_none = given.is_empty();
    let grants = grant::with_defaults(given);
    // A file without a word of it is more likely one that is being written than one that gives all of this host everything.
    if given_none && grants != in_force {
        return Err(
            "nothing is granted any more, must have an `allow` (`[loopback=all, unix=all]` is what goes without saying)"
                .to_owned(),
        );
    }
    Ok(grants)
}

fn read_tokens(path: impl AsRef<Path>) -> Result<Tokens, String> {
    let path = path.as_ref();
    let text = read_regular(path, MAX_FILE_BYTES);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    // Cut within a line, the shorter token of a name might be long enough to count, and the names behind it would be gone.
    if !text.ends_with('\n') {
        let path = path.display();
        return Err(format!(
            "{path}: its last line has no end, must end with a newline: the file may be cut"
        ));
    }
    Tokens::read(&text).map_err(|faults| format!("{}: {}", path.display(), faults.join("; ")))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn unix_s() -> u64 {
    clock::unix_ms() / 1_000
}

impl Writer {
    /// Looks after these from now on.
    pub fn keep_credentials(&mut self, credentials: Credentials) {
        let status = credentials.status();
        warn_of_missing(&status);
        self.state.credentials.store(status.into());
        self.credentials = Some(credentials);
    }

    /// Looks whether the files have changed, and tells what became of those that have.
    pub(super) fn look_at_credentials(&mut self) {
        let Some(credentials) = &mut self.credentials else {
            return;
        };
        let turns = credentials.look();
        if turns.is_empty() {
            return;
        }
        let status = credentials.status();
        warn_of_missing(&status);
        self.state.credentials.store(status.into());
        for turn in &turns {
            let source = turn.source;
            match &turn.fault {
                None => tracing::info!(source, "credentials are in force as their files have them"),
                Some(fault) => tracing::error!(
                    source,
                    fault,
                    "credentials are refused, those before stay in force"
                ),
            }
            self.audit.credentials(source, turn.fault.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SECRET: &str = "Zm9yLXRlc3RzLW9ubHktMDEyMw";

    #[test]
    fn tokens_turn_and_a_bad_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, format!("ci {SECRET}\n")).unwrap();
        let mut credentials = Credentials::load(None, Some(path.clone()), Vec::new()).unwrap();
        assert_eq!(credentials.look(), []);
        fs::write(&path, "ci short\n").unwrap();
        let turns = credentials.look();
        let fault = turns[0].fault.as_deref().unwrap();
        assert!(
            fault.contains("line 1: the token of `ci` has 5 characters"),
            "{fault}"
        );
        assert_eq!(credentials.look(), [], "told once");
        assert_eq!(
            credentials.access().tokens().len(),
            1,
            "the one before stays"
        );
        assert!(credentials.status().tokens.unwrap().fault.is_some());
        fs::write(&path, format!("ci {SECRET}\nprometheus {SECRET}2\n")).unwrap();
        assert_eq!(
            credentials.look(),
            [Turn {
                source: "tokens",
                fault: None
            }]
        );
        assert_eq!(
            credentials.status().tokens.unwrap(),
            TokensStatus {
                known: 2,
                missing: Vec::new(),
                fault: None
            }
        );
    }

    #[test]
    fn a_file_of_tokens_that_was_cut_in_the_middle_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let whole = format!("ci {SECRET}\nprometheus {SECRET}{SECRET}\n");
        fs::write(&path, &whole).unwrap();
        let grants = [
            "token:ci=ask",
            "token:prometheus=observe",
            "token:ops=operate",
        ];
        let grants = grants.map(|text| text.parse().unwrap()).to_vec();
        let mut credentials = Credentials::load(None, Some(path.clone()), grants).unwrap();
        let missing = |it: &Credentials| it.status().tokens.unwrap().missing;
        assert_eq!(missing(&credentials), ["ops"], "told from the start");
        let line_ends = whole.find('\n').unwrap() + 1;
        for cut in (0..whole.len()).filter(|cut| *cut != line_ends) {
            fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
            credentials.look();
            let tokens = credentials.access().tokens();
            assert!(tokens.has("ci") && tokens.has("prometheus"), "{cut}");
        }
        let fault = credentials.status().tokens.unwrap().fault.unwrap();
        assert!(fault.contains("must end with a newline"), "{fault}");
        // Between two lines nothing tells; but who is granted something then is not there, and that is told.
        fs::write(&path, &whole.as_bytes()[..line_ends]).unwrap();
        credentials.look();
        assert_eq!(missing(&credentials), ["ops", "prometheus"]);
    }

    #[test]
    fn nothing_is_served_with_credentials_that_cannot_be_read() {
        let error =
            Credentials::load(None, Some("/nowhere/tokens".into()), Vec::new()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("tokens: /nowhere/tokens cannot be read"),
            "{error}"
        );
    }
}
