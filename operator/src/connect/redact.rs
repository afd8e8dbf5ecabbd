//! Takes secrets out of texts that Connect wrote: it may echo resolved values in errors and traces.

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Words that, before `=` or `:`, say that what follows is secret. A word may end a longer name
/// (`database.password`, `ssl.keystore.password`).
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "pwd", "secret", "token", "jaas.config", "api.key", "credential"];

/// The text without what follows a secret's name, and without the login in a URL.
///
/// Also redacts more than it must: everything up to the next blank, comma, semicolon, `&` or quote, and for a
/// quoted value everything up to the closing quote.
pub fn redact(text: &str) -> String {
    redact_urls(&redact_assignments(text))
}

fn redact_assignments(text: &str) -> String {
    // Only ASCII is changed, so offsets agree with those in `text`.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((name_end, value_start)) = next_assignment(&lower, at) {
        out.push_str(&text[at..value_start]);
        let length = value_len(&text[value_start..]);
        // `${…}` is a reference, not the secret itself, and says what to look at.
        let value = &text[value_start..value_start + length];
        let is_text = name_end < value_start && !value.is_empty() && !value.starts_with("${");
        out.push_str(if is_text { REDACTED } else { value });
        at = value_start + length;
    }
    out.push_str(&text[at..]);
    out
}

/// The next `word =` or `word:` from `from` on: where the word ends, and where its value starts.
fn next_assignment(lower: &str, from: usize) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for word in SECRET_WORDS {
        let mut start = from;
        while let Some(found) = lower[start..].find(word) {
            let name_end = start + found + word.len();
            if let Some(value_start) = value_start(lower, name_end) {
                if best.is_none_or(|(_, first)| value_start < first) {
                    best = Some((name_end, value_start));
                }
                break;
            }
            start = name_end;
        }
    }
    best
}

/// Behind a name: an optional closing quote, blanks, `=` or `:`, blanks. None when it isn't assigned to.
fn value_start(lower: &str, name_end: usize) -> Option<usize> {
    let rest = &lower[name_end..];
    let unquoted = rest.strip_prefix(['"', '\'']).unwrap_or(rest).trim_start_matches([' ', '\t']);
    let value = unquoted.strip_prefix(['=', ':'])?.trim_start_matches([' ', '\t']);
    Some(lower.len() - value.len())
}

fn value_len(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if first == '"' || first == '\'' {
        return text[1..].find(first).map_or(text.len(), |end| end + 2);
    }
    if text.starts_with("${") {
        return text.find('}').map_or(text.len(), |end| end + 1);
    }
    text.find([' ', '\t', '\n', '\r', ',', ';', '&', '"', '\'', ')', '}']).unwrap_or(text.len())
}

/// `postgresql://name:password@host` → `postgresql://[redacted]@host`.
fn redact_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        out.push_str(before);
        let authority_end = after
            .find(|c: char| c == '/' || c == '?' || c.is_whitespace() || c == '"')
            .unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(at) => {
                out.push_str(REDACTED);
                &after[at..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_wherever_its_name_stands_before_it() {
        for text in [
            "password=c4n4ry",
            "password = c4n4ry, user=x",
            "jdbc:postgresql://h/d?user=u&password=c4n4ry&ssl=on",
            "{\"database.password\": \"c4n4ry\", \"a\": 1}",
            "{database.password=c4n4ry, x=1}",
            "ssl.keystore.password: c4n4ry",
            "sasl.jaas.config=\"org.x.Login required username=a password='c4n4ry';\"",
            "PASSWORD:c4n4ry",
            "postgresql://u:c4n4ry@host:5432/db",
            "http://c4n4ry@host/",
            "é password=c4n4ry é",
            "a secret=c4n4ry and a token=c4n4ry",
        ] {
            let safe = redact(text);
            assert!(!safe.contains("c4n4ry"), "{text} → {safe}");
            assert!(safe.contains(REDACTED), "{text} → {safe}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "FATAL: password authentication failed for user \"shop\"",
            "database.password=${dir:/run/secrets/shop:password}",
            "the password of the role is wrong",
            "http://connect:8083/connectors",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
