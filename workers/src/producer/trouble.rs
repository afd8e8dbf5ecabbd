//! When a template that can't be carried out is worth telling.

use std::collections::BTreeMap;

/// One row that somebody else took away is nothing; a template that fails this often in a row wants a person.
const TOLD_AFTER: u32 = 10;

/// How often each template has failed in a row.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    in_a_row: BTreeMap<String, (u32, String)>,
}

impl Troubles {
    /// A round of this template went well.
    pub fn went_well(&mut self, template: &str) {
        self.in_a_row.remove(template);
    }

    /// A round of this template came to nothing.
    pub fn failed(&mut self, template: &str, why: String) {
        let (times, told) = self.in_a_row.entry(template.to_owned()).or_default();
        *times = times.saturating_add(1);
        if *times <= TOLD_AFTER {
            // Once told it stays the same: the next failures are no news.
            *told = why;
        }
    }

    /// What to tell, if anything.
    pub fn sentence(&self) -> Option<String> {
        let (template, (_, why)) = self.in_a_row.iter().find(|(_, (times, _))| *times >= TOLD_AFTER)?;
        Some(format!("template `{template}` fails again and again: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_again_and_again_is_told() {
        let mut troubles = Troubles::default();
        for _ in 0..9 {
            troubles.failed("sale", "no customers".into());
        }
        troubles.failed("erasure", "no interactions".into());
        assert_eq!(troubles.sentence(), None);
        troubles.failed("sale", "no customers".into());
        assert_eq!(troubles.sentence().unwrap(), "template `sale` fails again and again: no customers");
        troubles.went_well("sale");
        assert_eq!(troubles.sentence(), None);
    }
}
