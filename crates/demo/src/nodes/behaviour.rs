//! How a node behaves: well, or badly in one of the ways nodes do.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

/// How a node behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// It answers 200 in its usual time.
    #[default]
    Well,
    /// It takes ten times as long, at least 200 ms.
    Slow,
    /// It answers 503 at once.
    Error,
    /// It answers 429 at once: it has too much to do.
    Shed,
    /// It accepts connections and requests, and never answers. Whoever waits is cut off when it behaves otherwise.
    Hang,
    /// Nobody listens: its open connections are closed and new ones are refused.
    Refuse,
}

/// Not a way to behave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a behaviour, must be one of {}", Behaviour::names())]
pub struct BehaviourError {
    /// What was given.
    pub value: String,
}

impl Behaviour {
    /// Every way to behave.
    pub const ALL: [Self; 6] = [
        Self::Well,
        Self::Slow,
        Self::Error,
        Self::Shed,
        Self::Hang,
        Self::Refuse,
    ];

    /// The word used at the control door and in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Slow => "slow",
            Self::Error => "error",
            Self::Shed => "shed",
            Self::Hang => "hang",
            Self::Refuse => "refuse",
        }
    }

    /// All words, for messages.
    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Behaviour {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, BehaviourError> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| BehaviourError {
            value: text.chars().take(80).collect(),
        })
    }
}
