//! Rules that are past their day. It depends on the day, so it is no part of compiling.

use super::document::PolicyDocument;
use crate::date::Date;
use crate::document::{Code, Diagnostics, Limits, Path, Source};

/// A warning for each rule of a policy file that was to end before `today`. Faults of the file are left to
/// [`compile`](super::compile).
pub fn expired(file: &str, text: &str, today: Date) -> Diagnostics {
    let (mut source, _) = Source::read(file, text, &Limits::default());
    let document = source.decode::<PolicyDocument>().value;
    let rules = document.map(|document| document.spec.rules);
    let mut found = Diagnostics::default();
    let spec = Path::Root.field("spec");
    let list = spec.field("rules");
    for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
        let day = rule.expires.as_deref().and_then(|day| day.parse().ok());
        let Some(day) = day.filter(|day: &Date| *day < today) else {
            continue;
        };
        let message = format!(
            "the rule `{}` expired on {day}, today is {today}",
            rule.name
        );
        let help = "delete the rule, or agree with its owner on a later day";
        let path = list.index(index);
        found.push(source.fault(Code::C001, &path.field("expires"), (message, help)));
    }
    found
}
