//! A password that can be used but not shown.

use std::sync::Arc;

/// A password. It has neither `Debug`, `Display` nor `Serialize`, so it can't end up in a log, an error or a
/// document by accident.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a password, as it was read from its file.
    pub fn new(password: impl Into<Arc<str>>) -> Self {
        Self(password.into())
    }

    /// The password itself. Only for handing it to a client library.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Takes a password out of text that comes from librdkafka or a broker.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Option<Secret>);

impl Redactor {
    pub(crate) fn new(secret: Option<Secret>) -> Self {
        // An empty password would match between any two characters.
        Self(secret.filter(|secret| !secret.expose().is_empty()))
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        match &self.0 {
            Some(secret) => text.replace(secret.expose(), "[redacted]"),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_message_is_replaced() {
        let redactor = Redactor::new(Some(Secret::new("hunter2")));
        assert_eq!(redactor.redact("bad value \"hunter2\" for x"), "bad value \"[redacted]\" for x");
    }

    #[test]
    fn without_or_with_an_empty_password_the_message_stays() {
        assert_eq!(Redactor::new(None).redact("abc"), "abc");
        assert_eq!(Redactor::new(Some(Secret::new(""))).redact("abc"), "abc");
    }
}
