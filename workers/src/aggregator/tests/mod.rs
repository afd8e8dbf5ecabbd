//! The two steps against a reference: whatever happens to workers and transactions, the same values come out.

mod broker;
mod case;
mod combiner;
mod histories;
mod log;
mod merger;
mod reference;
mod schedule;
mod store;

use proptest::prelude::*;

use broker::Fault;
use case::{Case, cases};
use log::{Log, logs};
use schedule::{Action, World, actions};

/// An aggregation, its input, what happens, and whether it ends in silence.
fn runs() -> impl Strategy<Value = (Case, Vec<Log>, Vec<Action>, bool)> {
    cases().prop_flat_map(|case| (Just(case.clone()), logs(&case), actions(), prop::bool::weighted(0.2)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_same_values_come_out((case, logs, actions, is_silent) in runs()) {
        let mut world = World::new(&case, logs, Fault::None);
        for action in &actions {
            world.act(action);
        }
        if let Err(difference) = world.end(is_silent) {
            prop_assert!(false, "{}", difference);
        }
    }
}
