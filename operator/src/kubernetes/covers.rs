//! Whether an object in the cluster is as it was applied.

use serde::Serialize;
use serde_json::Value;

/// Whether everything that `desired` says is so in `observed`. What `desired` doesn't say (defaults, status, what
/// others have set) makes no difference; but a list is ours as a whole, so one more entry does.
pub fn covers(desired: &impl Serialize, observed: &impl Serialize) -> bool {
    difference(desired, observed).is_none()
}

/// The first field in which `observed` isn't as `desired` says. Example: `spec.template.spec.containers[0].image`.
pub fn difference(desired: &impl Serialize, observed: &impl Serialize) -> Option<String> {
    match (serde_json::to_value(desired), serde_json::to_value(observed)) {
        (Ok(desired), Ok(observed)) => {
            within(None, &desired, &observed).map(|path| path.trim_start_matches('.').to_owned())
        }
        _ => Some("all of it".to_owned()),
    }
}

/// `field` is the name of what is compared, where it has one.
fn within(field: Option<&str>, desired: &Value, observed: &Value) -> Option<String> {
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => desired.iter().find_map(|(key, value)| {
            let rest = match (field, value, observed.get(key)) {
                // The API server leaves this one out where it is false. Others mean true where they are left out.
                (_, Value::Bool(false), None) if key == "paused" => None,
                (_, _, None) => Some(String::new()),
                // The API server writes quantities in its own way.
                (Some("requests" | "limits"), Value::String(a), Some(Value::String(b))) => {
                    (!same_quantity(a, b)).then(String::new)
                }
                (_, value, Some(other)) => within(Some(key), value, other),
            };
            rest.map(|rest| format!(".{key}{rest}"))
        }),
        (Value::Array(desired), Value::Array(observed)) => {
            // Other owners may be added; they take nothing from us.
            if field != Some("ownerReferences") && desired.len() != observed.len() {
                return Some(String::new());
            }
            let mut pairs = desired.iter().zip(observed).enumerate();
            pairs.find_map(|(at, (one, other))| within(None, one, other).map(|rest| format!("[{at}]{rest}")))
        }
        _ => (desired != observed).then(String::new),
    }
}

fn same_quantity(a: &str, b: &str) -> bool {
    a == b || matches!((nanos(a), nanos(b)), (Some(a), Some(b)) if a == b)
}

/// A quantity in billionths, as exact as Kubernetes keeps it.
fn nanos(text: &str) -> Option<i128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: i128 = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "k" => 1_000_000_000_000,
        "M" => 1_000_000_000_000_000,
        "G" => 1_000_000_000_000_000_000,
        "T" => 1_000_000_000_000_000_000_000,
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 9)?;
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(value.checked_mul(scale)? / 10_i128.pow(places))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_other_peoples_fields_make_no_difference() {
        let desired = json!({"spec": {"replicas": 1, "list": [{"name": "a"}]}});
        let observed = json!({"spec": {"replicas": 1, "list": [{"name": "a", "more": 1}], "paused": false}, "status": {}});
        assert!(covers(&desired, &observed));
    }

    #[test]
    fn a_changed_a_missing_and_an_added_value_are_seen() {
        let desired = json!({"spec": {"image": "a", "env": [{"name": "A"}]}});
        for observed in [
            json!({"spec": {"image": "b", "env": [{"name": "A"}]}}),
            json!({"spec": {"env": [{"name": "A"}]}}),
            json!({"spec": {"image": "a", "env": [{"name": "A"}, {"name": "B"}]}}),
            json!({"spec": {"image": "a", "env": []}}),
        ] {
            assert!(!covers(&desired, &observed), "{observed}");
        }
    }

    #[test]
    fn only_of_a_pause_nothing_means_false() {
        let said = |field: &str| json!({"spec": {field: false}});
        let nothing = json!({"spec": {}});
        assert!(
            covers(&said("paused"), &nothing) && !covers(&said("paused"), &json!({"spec": {"paused": true}}))
        );
        for field in ["allowPrivilegeEscalation", "automountServiceAccountToken"] {
            assert!(!covers(&said(field), &nothing), "{field}");
        }
    }

    #[test]
    fn the_field_that_differs_is_named() {
        let desired = json!({"spec": {"containers": [{"image": "a", "limits": {"cpu": "1"}}]}});
        let at = |observed| difference(&desired, &observed);
        assert_eq!(
            at(json!({"spec": {"containers": [{"image": "b"}]}})).as_deref(),
            Some("spec.containers[0].image")
        );
        let more = json!({"spec": {"containers": [{"image": "a", "limits": {"cpu": "2"}}]}});
        assert_eq!(at(more).as_deref(), Some("spec.containers[0].limits.cpu"));
        assert_eq!(at(json!({"spec": {"containers": []}})).as_deref(), Some("spec.containers"));
        assert_eq!(at(desired.clone()), None);
    }

    #[test]
    fn a_quantity_is_the_same_however_it_is_written() {
        let limits = |cpu: &str| json!({"limits": {"cpu": cpu}});
        for (ours, theirs) in [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi")] {
            assert!(covers(&limits(ours), &limits(theirs)), "{ours} {theirs}");
        }
        assert!(!covers(&limits("1"), &limits("1001m")));
        assert!(!covers(&limits("1x"), &limits("1y")), "what nobody understands is the same only as itself");
        assert!(!covers(&json!({"args": {"a": "1000m"}}), &json!({"args": {"a": "1"}})));
    }
}
