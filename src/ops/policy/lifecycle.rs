//! The lifecycle rules of the bucket.

use super::{Wish, keys, statement};
use crate::error::{Error, Result};
use crate::format::key::CHECKPOINTS;
use serde_json::{Value, json};

/// Days after which an upload in parts is given up that nobody completes: time for a rescue of a lost host.
const STALE_UPLOAD: u32 = 7;
/// Days that the versions of checkpoints stay that were replaced.
const OLD_CHECKPOINT: u32 = 1;
/// Smaller objects (manifests) would cost more in a cheaper class than they save, in bytes.
const WORTH_IT: u32 = 128 << 10;
/// Storage classes in the order in which objects may go from one to the next.
const CLASSES: [&str; 7] =
    ["STANDARD", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];
/// Where none are given.
const TRANSITIONS: [(u32, &str); 2] = [(30, "STANDARD_IA"), (180, "GLACIER_IR")];

/// When an object goes to a cheaper class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Days after its creation.
    pub days: u32,
    /// The class, as S3 spells it.
    pub class: String,
}

impl Transition {
    /// Reads `DAYS:CLASS`.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("write DAYS:CLASS, like 30:STANDARD_IA; classes are {}", CLASSES[1..].join(" "));
        let (days, class) = text.split_once(':').ok_or_else(wrong)?;
        let days = days.parse().map_err(|_| wrong())?;
        match CLASSES[1..].contains(&class) {
            true => Ok(Self { days, class: class.to_owned() }),
            false => Err(wrong()),
        }
    }
}

pub fn rules(wish: &Wish, transitions: &[Transition]) -> Result<String> {
    let mut rules = vec![json!({
        "ID": "logjam-stale-uploads",
        "Status": "Enabled",
        "Filter": { "Prefix": keys::root(wish) },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": STALE_UPLOAD }
    })];
    let steps = steps(wish, transitions)?;
    if !steps.is_empty() {
        rules.push(json!({
            "ID": "logjam-cheaper-classes",
            "Status": "Enabled",
            "Filter": { "And": { "Prefix": keys::root(wish), "ObjectSizeGreaterThan": WORTH_IT } },
            "Transitions": steps
        }));
    }
    rules.push(json!({
        "ID": "logjam-old-checkpoints",
        "Status": "Enabled",
        "Filter": { "Prefix": CHECKPOINTS },
        "NoncurrentVersionExpiration": { "NoncurrentDays": OLD_CHECKPOINT }
    }));
    statement::json(&json!({ "Rules": rules }))
}

/// Those that are given, or the default ones that lead on from the class in which objects are stored.
fn steps(wish: &Wish, given: &[Transition]) -> Result<Vec<Value>> {
    let place = |class: &str| CLASSES.iter().position(|known| *known == class).unwrap_or(0);
    let from = wish.storage_class.map_or(0, place);
    let default = TRANSITIONS.iter().filter(|(_, class)| place(class) > from);
    let default = default.map(|(days, class)| Transition { days: *days, class: (*class).to_owned() });
    let mut steps: Vec<Transition> = if given.is_empty() { default.collect() } else { given.to_vec() };
    steps.sort_by_key(|step| step.days);
    let mut last = from;
    for step in &steps {
        if place(&step.class) <= last {
            let option = format!("--transition={}:{}", step.days, step.class);
            return Err(Error::usage(option, "does not lead on from the class before it")
                .mend(format!("the order of classes is {}", CLASSES.join(" "))));
        }
        last = place(&step.class);
    }
    Ok(steps.iter().map(|step| json!({ "Days": step.days, "StorageClass": step.class })).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::wish;
    use super::super::{DEST, Wish};
    use super::*;
    use crate::format::key::Dest;

    fn classes(class: Option<&str>, given: &[&str]) -> Result<Vec<String>> {
        let dest = Dest::parse(DEST).unwrap();
        let given: Vec<_> = given.iter().map(|text| Transition::parse(text).unwrap()).collect();
        let steps = steps(&Wish { storage_class: class, ..wish(DEST, &dest) }, &given)?;
        Ok(steps.iter().map(|step| format!("{}:{}", step["Days"], step["StorageClass"].as_str().unwrap())).collect())
    }

    #[test]
    fn transitions_lead_on_from_where_objects_are_stored() {
        assert_eq!(classes(None, &[]).unwrap(), ["30:STANDARD_IA", "180:GLACIER_IR"]);
        assert_eq!(classes(Some("STANDARD_IA"), &[]).unwrap(), ["180:GLACIER_IR"]);
        assert!(classes(Some("DEEP_ARCHIVE"), &[]).unwrap().is_empty());
        assert_eq!(classes(None, &["90:GLACIER", "30:STANDARD_IA"]).unwrap(), ["30:STANDARD_IA", "90:GLACIER"]);
        assert!(classes(None, &["30:GLACIER", "90:STANDARD_IA"]).unwrap_err().to_string().contains("order of classes"));
        assert!(classes(Some("GLACIER"), &["90:STANDARD_IA"]).is_err());
    }

    #[test]
    fn a_transition_is_a_number_of_days_and_a_class() {
        for text in ["", "30", "x:GLACIER", "30:STANDARD", "30:glacier", ":GLACIER"] {
            assert!(Transition::parse(text).is_err(), "{text}");
        }
    }
}
