//! Texts that are not used whatever they say, because of what the host found out about them.

use crate::document::{Code, Diagnostics, Limits, Path, Source};

/// Why a text is not used: it cannot be read, is not known to be whole, or is not signed as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What it is refused for.
    pub code: Code,
    /// The same in words: what, and the value seen.
    pub said: String,
    /// What to do about it.
    pub help: &'static str,
}

impl Unusable {
    /// A file that cannot be read, with what the system says.
    pub fn unreadable(error: &str) -> Self {
        Self {
            code: Code::D012,
            said: format!("the file cannot be read: {error}"),
            help: "check the path and who may read it",
        }
    }

    /// The same as the fault of the document that findings call `name`.
    pub(super) fn faults(&self, name: &str) -> Diagnostics {
        let (source, _) = Source::read(name, "", &Limits::default());
        let mut faults = Diagnostics::default();
        let said = (self.said.clone(), self.help);
        faults.push(source.fault(self.code, &Path::Root, said));
        faults
    }
}
