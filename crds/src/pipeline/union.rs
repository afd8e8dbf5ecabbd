//! Unions are written as structs of options, because a CRD cannot hold an enum with content. This turns one into the enum that
//! code wants to match on.

/// The one that is there; nothing when none or several are.
pub(crate) fn only<T, const N: usize>(options: [Option<T>; N]) -> Option<T> {
    let mut present = options.into_iter().flatten();
    match (present.next(), present.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn exactly_one_counts() {
        assert_eq!(only([None, Some(2), None]), Some(2));
        assert_eq!(only([Some(1), Some(2)]), None);
        assert_eq!(only([None::<u8>, None]), None);
    }
}
