//! Roles: what somebody may do.

use std::fmt;

/// One thing that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Ask where requests go.
    Ask,
    /// Tell how requests went, and how loaded nodes are.
    Tell,
    /// Look at everything: texts, states, decisions, metrics.
    Observe,
    /// Change what is in force for a while, or go back: drains, breakers, rollouts under way, rollbacks.
    Operate,
    /// Put texts in force: policies and topologies.
    Publish,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Ask,
        Self::Tell,
        Self::Observe,
        Self::Operate,
        Self::Publish,
    ];

    /// The word for it, in settings and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Tell => "tell",
            Self::Observe => "observe",
            Self::Operate => "operate",
            Self::Publish => "publish",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// None.
    pub const NONE: Self = Self(0);

    /// All of them.
    pub const ALL: Self = Self((1 << Role::ALL.len()) - 1);

    /// Whether a role is among them.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// These, and `role`.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | (1 << role as u8))
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether one of those that change what is in force is among them.
    pub const fn change(self) -> bool {
        self.contains(Role::Operate) || self.contains(Role::Publish)
    }

    /// Reads `ask,tell`, `all` or `none`; the word that is no role otherwise.
    pub fn read(text: &str) -> Result<Self, &str> {
        match text.trim() {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        text.split(',')
            .map(str::trim)
            .try_fold(Self::NONE, |roles, word| {
                let known = Role::ALL.into_iter().find(|role| role.name() == word);
                known.map(|role| roles.with(role)).ok_or(word)
            })
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Role::ALL.into_iter().filter(|role| self.contains(*role));
        let words: Vec<&str> = held.map(Role::name).collect();
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for text in ["ask", "ask,tell", "observe,operate", "none"] {
            assert_eq!(Roles::read(text).unwrap().to_string(), text);
        }
        let all = Roles::read("all").unwrap();
        assert!(Role::ALL.into_iter().all(|role| all.contains(role)));
        assert_eq!(Roles::read("tell, ask").unwrap().to_string(), "ask,tell");
        assert_eq!(Roles::read("ask,admin"), Err("admin"));
        assert_eq!(Roles::read(""), Err(""));
    }
}
