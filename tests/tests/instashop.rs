//! InstaShop CDC for two minutes; then everything that was changed is in the warehouse, and nothing else, and the live
//! figures are what SQL in the sources says.

use std::time::{Duration, Instant};

use acequia_kafka::log::OwnedRecord;
use acequia_tests::check::assert_none;
use acequia_tests::database::Database;
use acequia_tests::shop::Shop;
use acequia_tests::shop::figures::{WINDOW_S, operations};
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(120);
const OPEN: Duration = Duration::from_secs(120);

/// What two minutes of ten rounds a second make at least, on a loaded machine too: rows of each table, streamed changes of
/// each database.
const MINIMUM: [(&str, usize); 13] = [
    ("transaction", 400),
    ("transactiondetail", 800),
    ("customer", 50),
    ("product", 200),
    ("interaction", 120),
    ("stock", 200),
    ("carrier", 5),
    ("shipment", 400),
    ("change_events", 2_500),
    ("instashop", 1_000),
    ("crm_db", 100),
    ("erp_db", 300),
    ("ecommerce_db", 300),
];

/// The comparison is trusted because each of these makes it fail, at the place that was spoilt and nowhere else.
fn what_is_wrong_is_seen(shop: &Shop, records: &[(String, OwnedRecord)]) {
    let one_event = "(SELECT ctid FROM change_events WHERE op = 'c' LIMIT 1)";
    let spoilt = [
        ("dwh_db", "stock", "UPDATE stock SET quantity = quantity + 1 WHERE product_id = 7".to_owned()),
        ("dwh_db", "shipment", "DELETE FROM shipment WHERE id = (SELECT max(id) FROM shipment)".to_owned()),
        ("dwh_db", "change_events", format!("DELETE FROM change_events WHERE ctid = {one_event}")),
        (
            "dwh_db",
            "change_events",
            format!("INSERT INTO change_events SELECT * FROM change_events WHERE ctid = {one_event}"),
        ),
        (
            "crm_db",
            "crm_db",
            "UPDATE journal SET op = 'u' WHERE ctid = (SELECT max(ctid) FROM journal)".to_owned(),
        ),
    ];
    let mut seen = 0;
    for (database, place, sql) in spoilt {
        shop.database(database).run(&sql);
        let faults = shop.faults(records, &MINIMUM);
        let new = faults.len() - seen;
        assert!((1..=2).contains(&new), "{sql}: {new} more faults: {faults:#?}");
        assert!(faults.iter().any(|fault| fault.starts_with(&format!("{place}: "))), "{sql}: {faults:#?}");
        seen = faults.len();
    }
}

/// The same of the live figures. Nothing mends them: nothing changes any more.
fn wrong_figures_are_seen(shop: &Shop, records: &[(String, OwnedRecord)], size_s: i64) {
    // Another row each time: what is wrong with one already is no news.
    let least = "(SELECT ctid FROM category_windows w ORDER BY w LIMIT 1)";
    let greatest = "(SELECT ctid FROM category_windows w ORDER BY w DESC LIMIT 1)";
    let add_a_cent = format!("UPDATE category_windows SET revenue = revenue + 0.01 WHERE ctid = {least}");
    let delete = format!("DELETE FROM category_windows WHERE ctid = {greatest}");
    let spoilt: [(&str, &dyn Fn()); 6] = [
        ("category_windows: ", &|| shop.warehouse().run(&add_a_cent)),
        ("category_windows: ", &|| shop.warehouse().run(&delete)),
        ("transactions: ", &|| shop.spoil("metrics:transactions", "completed:count")),
        ("operations: ", &|| shop.spoil("metrics:operations", "nothing:c:count")),
        ("behaviour: ", &|| shop.spoil("metrics:behaviour:*", "click:events")),
        ("dashboard: ", &|| shop.spoil("metrics:dashboard", "")),
    ];
    let mut seen = Vec::new();
    for (place, spoil) in spoilt {
        spoil();
        let faults = shop.figure_faults(records, size_s);
        let is_new = |fault: &&String| fault.starts_with(place) && !seen.contains(*fault);
        assert!(faults.iter().any(|fault| is_new(&fault)), "{place}{faults:#?}");
        seen = faults;
    }
}

/// Waits until the shop has been open for so long.
fn open_for(source: &mut Database, seconds: i64) {
    let span =
        "SELECT coalesce(extract(epoch FROM max(created_at) - min(created_at)), 0)::bigint FROM transaction";
    let what = format!("the shop has been open for {seconds} s");
    until(&what, OPEN + READY_DEADLINE, || source.number(span), |open| *open >= seconds);
}

#[test]
fn after_two_minutes_mirrors_and_live_figures_equal_the_sources_and_each_change_event_is_kept_once() {
    let stack = Stack::up();
    let started = Instant::now();
    let mut shop = Shop::new(&stack);
    shop.acequia.start();
    shop.acequia.wait("everything is ready", READY_DEADLINE, |status| status.ready);
    println!("ready after {:.1} s", started.elapsed().as_secs_f64());

    let mut source = shop.database("instashop");
    for second in [30, 60, 90] {
        open_for(&mut source, second);
        shop.correct();
    }
    open_for(&mut source, OPEN.as_secs().cast_signed());
    shop.erase_late();
    let closing = Instant::now();
    shop.close();
    let records = shop.drain();
    println!("closed, nothing waits any more: {:.1} s", closing.elapsed().as_secs_f64());
    assert_none(&shop.faults(&records, &MINIMUM), "after two minutes");
    let showing = Instant::now();
    shop.wait_for_figures(&records, WINDOW_S);
    assert!(shop.late_deletes() > 0, "an interaction of a window that had closed was erased");
    for changed in
        ["transaction:u", "transactiondetail:u", "transactiondetail:d", "product:u", "interaction:d"]
    {
        let changes = operations(&records).get(&format!("{}:count", shop.topic(changed))).copied();
        assert!(
            changes.is_some(),
            "{changed}: sales are refunded, corrected and erased, products change category"
        );
    }
    println!("the figures are right: {:.1} s", showing.elapsed().as_secs_f64());
    what_is_wrong_is_seen(&shop, &records);

    let widening = Instant::now();
    shop.widen_windows(&records);
    println!("windows of a minute: {:.1} s", widening.elapsed().as_secs_f64());
    wrong_figures_are_seen(&shop, &records, 60);

    let deleting = Instant::now();
    shop.delete();
    println!("deleted, nothing left: {:.1} s", deleting.elapsed().as_secs_f64());
}
