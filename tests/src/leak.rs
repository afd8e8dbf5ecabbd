//! Is a secret anywhere it must not be?

/// A text that no place but the secret's own file may hold.
#[derive(Clone, Debug)]
pub struct Canary {
    /// What it is, for people.
    pub name: String,
    /// The text.
    pub text: String,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The names of the canaries that `bytes` hold: plain, in any case, backwards, in hexadecimal, or as a part of
/// something in Base64, wherever in it they stand.
pub fn leaks(bytes: &[u8], canaries: &[Canary]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_lowercase();
    let is_in = |canary: &&Canary| {
        let backwards: String = canary.text.chars().rev().collect();
        let hex = canary.text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        lower.contains(&canary.text.to_lowercase())
            || text.contains(&backwards)
            || lower.contains(&hex)
            || base64_forms(canary.text.as_bytes()).iter().any(|form| text.contains(form.as_str()))
    };
    canaries.iter().filter(is_in).map(|canary| canary.name.clone()).collect()
}

/// What is sure to be in the Base64 of anything that holds `bytes`: one form for each place modulo 3, in both
/// alphabets.
fn base64_forms(bytes: &[u8]) -> Vec<String> {
    let forms = (0..3_usize).map(|before| {
        let shifted: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
        let whole = base64(&shifted);
        // The first characters depend on what is before, the last one on what is behind.
        let (first, last) = (before * 8_usize.div_ceil(6), shifted.len() * 8 / 6);
        whole.get(first..last).unwrap_or_default().to_owned()
    });
    forms.flat_map(|form| [form.replace('+', "-").replace('/', "_"), form]).collect()
}

/// Without padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0_usize, |group, index| group << 8 | usize::from(*chunk.get(index).unwrap_or(&0)));
        for index in 0..=chunk.len() {
            let sextet = group >> (18 - 6 * index) & 63;
            out.push(char::from(*ALPHABET.get(sextet).expect("six bits")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries() -> Vec<Canary> {
        let canary = |name: &str, text: &str| Canary { name: name.to_owned(), text: text.to_owned() };
        vec![canary("first", "kSs8-2iX_n1wYwJ0"), canary("second", "not.the.password.17")]
    }

    #[test]
    fn base64_is_what_everybody_calls_so() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        for text in [
            "kSs8-2iX_n1wYwJ0".to_owned(),
            r#"{"error": "login with kSs8-2iX_n1wYwJ0 refused"}"#.to_owned(),
            "PASSWORD=KSS8-2IX_N1WYWJ0".to_owned(),
            "0JwYw1n_Xi2-8sSk".to_owned(),
            "6b5373382d3269585f6e317759774a30".to_owned(),
            format!("Authorization: Basic {}=", base64(b"shop:kSs8-2iX_n1wYwJ0")),
            format!("Authorization: Basic {}=", base64(b"dwh:kSs8-2iX_n1wYwJ0\n")),
            base64(b"kSs8-2iX_n1wYwJ0"),
        ] {
            assert_eq!(leaks(text.as_bytes(), &canaries()), ["first"], "{text}");
        }
        let in_binary = b"\xff\x00not.the.password.17\xfe";
        assert_eq!(leaks(in_binary, &canaries()), ["second"]);
    }

    #[test]
    fn what_holds_no_secret_is_clean() {
        let text = b"password=${dir:/secrets/shop-db:password} kSs8-2iX not.the.password.18 \xff";
        assert_eq!(leaks(text, &canaries()), Vec::<String>::new());
        assert_eq!(leaks(b"", &canaries()), Vec::<String>::new());
    }
}
