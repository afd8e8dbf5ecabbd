//! The fields of one row in the order in which they can be computed.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::pipeline::generator::FieldValue;

use super::refused::Refused;
use super::source::Source;

/// The fields of a row; each stands behind those it needs.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    ordered: Vec<(String, Source)>,
}

/// What the fields may refer to and use where they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Fields of the same row that are known before: those of `where`, for `update`.
    pub before: Option<&'a Fields>,
    /// The fields of the parent row, for `children`.
    pub parent: Option<&'a Fields>,
    /// `addInt` makes sense: there is an old value.
    pub has_old_value: bool,
}

impl Fields {
    /// Checks the fields that stand at `path` and puts them in order.
    pub fn compile(
        path: &str,
        fields: &BTreeMap<String, FieldValue>,
        around: Surroundings<'_>,
    ) -> Result<Self, Refused> {
        let mut waiting = BTreeMap::new();
        for (name, field) in fields {
            let at = || format!("{path}.{name}");
            let source = Source::compile(field).map_err(|problem| Refused::new(at(), problem))?;
            around.check(&source).map_err(|problem| Refused::new(at(), problem))?;
            waiting.insert(name.as_str(), source);
        }
        let outer: BTreeSet<&str> = around.before.iter().flat_map(|before| before.names()).collect();
        check_references(path, &waiting, &outer)?;
        let ordered = in_order(path, waiting)?;
        check_undecided(path, &ordered, around)?;
        Ok(Self { ordered })
    }

    /// The fields and their sources, each behind those it needs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.ordered.iter().map(|(name, source)| (name.as_str(), source))
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.ordered.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }
}

impl Surroundings<'_> {
    fn check(&self, source: &Source) -> Result<(), String> {
        match source {
            Source::Parent(_) if self.parent.is_none() => {
                Err("is `parent`, but this row has no parent; use it in `children` only".to_owned())
            }
            Source::AddInt(..) if !self.has_old_value => {
                Err("is `addInt`, but there is no old value here; use it in `update` only, or write `int`"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Only the database knows what the field will be, and only once the row is written.
    fn is_undecided(&self, source: &Source) -> bool {
        match source {
            Source::AddInt(..) => true,
            Source::Parent(column) => {
                !self.parent.is_some_and(|parent| parent.names().any(|name| name == column))
            }
            _ => false,
        }
    }
}

fn check_references(
    path: &str,
    fields: &BTreeMap<&str, Source>,
    outer: &BTreeSet<&str>,
) -> Result<(), Refused> {
    for (name, source) in fields {
        if let Some(unknown) =
            source.needs().into_iter().find(|need| !fields.contains_key(need) && !outer.contains(need))
        {
            let known: Vec<&str> =
                fields.keys().chain(outer).copied().filter(|known| known != name).collect();
            return Err(Refused::new(
                format!("{path}.{name}"),
                format!(
                    "refers to the field `{unknown}`, which this row doesn't set; it sets {}",
                    known.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

/// Always takes the first field by name that needs nothing more: the order is the same on every machine.
fn in_order(path: &str, mut waiting: BTreeMap<&str, Source>) -> Result<Vec<(String, Source)>, Refused> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting
            .iter()
            .find(|(_, source)| source.needs().iter().all(|need| !waiting.contains_key(need)))
            .map(|(name, _)| *name);
        let Some((name, source)) = ready.and_then(|name| waiting.remove_entry(name)) else {
            let circle: Vec<&str> = waiting.keys().copied().collect();
            return Err(Refused::new(
                path.to_owned(),
                format!(
                    "has fields that need each other: {}; take one `by` or expression out",
                    circle.join(", ")
                ),
            ));
        };
        ordered.push((name.to_owned(), source));
    }
    Ok(ordered)
}

fn check_undecided(
    path: &str,
    ordered: &[(String, Source)],
    around: Surroundings<'_>,
) -> Result<(), Refused> {
    for (name, source) in ordered {
        let undecided = source
            .needs()
            .into_iter()
            .find(|need| ordered.iter().any(|(other, source)| other == need && around.is_undecided(source)));
        if let Some(need) = undecided {
            return Err(Refused::new(
                format!("{path}.{name}"),
                format!(
                    "refers to `{need}`, which only the database knows once the row is written; \
                     refer to a field with a value of its own (not available in this version)"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(yaml: &str) -> BTreeMap<String, FieldValue> {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn compile(yaml: &str) -> Result<Fields, Refused> {
        Fields::compile("values", &fields(yaml), Surroundings::default())
    }

    #[test]
    fn a_field_stands_behind_those_it_needs() {
        let compiled = compile(
            "{a: {word: {by: b}}, b: {lookup: {table: t, column: c, by: z}}, z: {int: {min: 1, max: 2}}, c: {now: {}}}",
        )
        .unwrap();
        assert_eq!(compiled.names().collect::<Vec<_>>(), ["c", "z", "b", "a"]);
    }

    #[test]
    fn fields_that_need_each_other_are_refused() {
        let error = compile("{a: {word: {by: b}}, b: {word: {by: a}}, c: {now: {}}}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "values has fields that need each other: a, b; take one `by` or expression out"
        );
        assert!(compile("{a: {word: {by: a}}}").is_err());
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error =
            compile("{price: {decimal: {min: 1, max: 2, by: product}}, product_id: {int: {min: 1, max: 2}}}");
        assert_eq!(
            error.unwrap_err().to_string(),
            "values.price refers to the field `product`, which this row doesn't set; it sets product_id"
        );
    }

    #[test]
    fn a_parent_is_for_children_and_add_int_for_updates() {
        assert!(compile("{a: {parent: id}}").unwrap_err().to_string().contains("`children` only"));
        assert!(
            compile("{a: {addInt: {min: 1, max: 2}}}").unwrap_err().to_string().contains("`update` only")
        );
    }

    #[test]
    fn what_only_the_database_knows_cannot_be_computed_with() {
        let parent = compile("{status: {const: new}}").unwrap();
        let around = Surroundings { parent: Some(&parent), ..Surroundings::default() };
        let of = |yaml: &str| Fields::compile("values", &fields(yaml), around);
        assert!(of("{s: {parent: status}, w: {word: {by: s}}}").is_ok());
        let error = of("{order_id: {parent: id}, w: {word: {by: order_id}}}").unwrap_err().to_string();
        assert!(error.starts_with("values.w refers to `order_id`, which only the database knows"), "{error}");
    }
}
