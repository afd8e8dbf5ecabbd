//! Rounds are decided from numbers, time and what is known, and from nothing else.

use std::collections::BTreeSet;
use std::time::Instant;

use acequia_crds::stage::GeneratorWork;
use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::producer::refused::Refused;

const SHOP: &str = "
generator:
  name: shop
  seed: 7
  templates:
    - name: sale
      weight: 70
      rows:
        - store: shop
          table: transaction
          values:
            customer_id: {existing: {table: customer, column: id}}
            customer_name: {person: {by: customer_id}}
            status: {choice: {values: [completed, failed], weights: [90, 10]}}
            created_at: {now: {}}
            reference: {uuid: {}}
          children:
            - table: transactiondetail
              count: {min: 1, max: 4}
              values:
                transaction_id: {parent: id}
                status: {parent: status}
                product_id: {existing: {table: product, column: id}}
                price: {lookup: {table: product, column: price, by: product_id}}
        - store: erp
          table: stock
          update: {quantity: {addInt: {min: -3, max: 0}}}
          where: {product_id: {existing: {table: stock, column: product_id}}, site: {existing: {table: stock, column: site}}}
    - {name: erasure, weight: 30, rows: [{store: shop, table: transaction, delete: {}, where: {id: {existing: {table: transaction, column: id}}}}]}
stores:
  shop: {host: h, database: shop, credentialsSecret: s}
  erp: {host: h, database: erp, credentialsSecret: s}
";

fn work(yaml: &str) -> GeneratorWork {
    serde_yaml::from_str(yaml).unwrap()
}

fn table(store: &str, name: &str) -> Table {
    Table { store: store.into(), name: name.into() }
}

/// Customers 1–20, products 100–109, transactions 1000–1009; site 7 of the stock has product 100, site 8 has 101, …
fn known(templates: &Templates) -> Known {
    let mut known = Known::of(templates.drawn_columns(), 7);
    let rows = |ids: std::ops::Range<i64>| ids.map(|id| vec![Value::Int(id)]).collect::<Vec<_>>();
    let now = Instant::now();
    known.load(&table("shop", "customer"), rows(1..21), 20, now);
    known.load(&table("shop", "product"), rows(100..110), 10, now);
    known.load(&table("shop", "transaction"), rows(1_000..1_010), 10, now);
    let stock = (0..10).map(|place| vec![Value::Int(100 + place), Value::Int(7 + place)]).collect();
    known.load(&table("erp", "stock"), stock, 10, now);
    known
}

fn answer(known: &mut Known, lookup: Lookup) {
    let Value::Int(product) = lookup.value else { panic!("{lookup:?}") };
    known.answer(lookup, Some(Value::Decimal(rust_decimal::Decimal::new(product, 2))), Instant::now());
}

/// Rounds as the edge makes them.
fn rounds(templates: &Templates, seed: u64, count: usize) -> Vec<(String, Vec<Transaction>)> {
    let (mut rng, mut known) = (Rng::with_seed(seed), known(templates));
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut round = || {
        let template = choose(&mut rng, templates).unwrap();
        loop {
            let mut numbers = rng.clone();
            match plan_round(&mut numbers, templates.seed, template, &known, now) {
                Ok(transactions) => {
                    rng = numbers;
                    return (template.name.clone(), transactions);
                }
                Err(Unplanned::Lookup(lookup)) => answer(&mut known, lookup),
                Err(other) => panic!("{other}"),
            }
        }
    };
    (0..count).map(|_| round()).collect()
}

fn cell<'a>(cells: &'a [(String, Cell)], column: &str) -> &'a Cell {
    &cells.iter().find(|(name, _)| name == column).unwrap().1
}

fn int(cell: &Cell) -> i64 {
    match cell {
        Cell::Value(Value::Int(int)) => *int,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_rounds_and_another_seed_others() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    assert_eq!(rounds(&templates, 7, 200), rounds(&templates, 7, 200));
    assert_ne!(rounds(&templates, 7, 200), rounds(&templates, 8, 200));
}

#[test]
fn templates_are_chosen_by_weight() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    let sales = rounds(&templates, 7, 5_000).iter().filter(|(name, _)| name == "sale").count();
    assert!((3_350..3_650).contains(&sales), "{sales} of 5000 with a weight of 70 %");
}

#[test]
fn rows_of_one_store_are_one_transaction_and_children_follow_their_parent() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    let all = rounds(&templates, 7, 500);
    let sales: Vec<_> = all.iter().filter(|(name, _)| name == "sale").collect();
    let mut counts = BTreeSet::new();
    for (_, transactions) in &sales {
        let stores: Vec<&str> = transactions.iter().map(|transaction| transaction.store.as_str()).collect();
        assert_eq!(stores, ["shop", "erp"]);
        let [parent, children @ ..] = transactions[0].statements.as_slice() else { panic!() };
        assert_eq!(parent.returning, ["id"], "the children take it");
        counts.insert(children.len());
        for child in children {
            assert_eq!(child.parent, Some(0));
            assert_eq!(cell(&child.set, "transaction_id"), &Cell::Parent("id".into()));
            assert_eq!(cell(&child.set, "status"), cell(&parent.set, "status"), "decided already");
            let product = int(cell(&child.set, "product_id"));
            let price = Cell::Value(Value::Decimal(rust_decimal::Decimal::new(product, 2)));
            assert_eq!(cell(&child.set, "price"), &price);
        }
    }
    assert_eq!(counts, BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn columns_of_one_table_come_from_one_row() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    let all = rounds(&templates, 7, 300);
    let updates = all
        .iter()
        .flat_map(|(_, transactions)| transactions)
        .filter(|transaction| transaction.store == "erp");
    let mut seen = 0;
    for transaction in updates {
        let statement = &transaction.statements[0];
        assert_eq!(
            int(cell(&statement.matching, "product_id")) - 100,
            int(cell(&statement.matching, "site")) - 7
        );
        assert!(matches!(cell(&statement.set, "quantity"), Cell::Add(-3..=0)));
        assert_eq!(statement.drawn.len(), 1);
        seen += 1;
    }
    assert!(seen > 100);
}

#[test]
fn the_same_customer_always_has_the_same_name() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    let mut names: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for seed in [1, 2] {
        for (_, transactions) in rounds(&templates, seed, 300).iter().filter(|(name, _)| name == "sale") {
            let set = &transactions[0].statements[0].set;
            let name = format!("{:?}", cell(set, "customer_name"));
            names.entry(int(cell(set, "customer_id"))).or_default().insert(name);
        }
    }
    assert!(names.len() > 15);
    assert!(names.values().all(|names| names.len() == 1), "{names:?}");
}

#[test]
fn an_empty_table_to_draw_from_is_named() {
    let templates = Templates::compile(&work(SHOP)).unwrap();
    let known = Known::of(templates.drawn_columns(), 7);
    let (_, sale) = &templates.weighted[0];
    let error = plan_round(&mut Rng::with_seed(7), 7, sale, &known, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(
        error.to_string(),
        "generators[shop].templates[sale].rows[0]: customer_id: table `customer` of store `shop` has no rows to draw \
         from; add some, for example in the setup"
    );
}

#[test]
fn a_uuid_is_one_and_differs_at_another_time() {
    let (first, second) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
    assert_ne!(uuid(5, first), uuid(5, second));
    let text = uuid(u128::MAX, first);
    assert_eq!(text.len(), 36);
    assert_eq!(&text[14..15], "4");
    assert!("89ab".contains(&text[19..20]), "{text}");
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_its_path() {
    let refused = |from: &str, to: &str| -> Refused {
        assert!(SHOP.contains(from), "{from}");
        Templates::compile(&work(&SHOP.replacen(from, to, 1))).unwrap_err()
    };
    let error =
        refused("delete: {}, where: {id: {existing: {table: transaction, column: id}}}", "delete: {}");
    assert_eq!(
        error.to_string(),
        "generators[shop].templates[erasure].rows[0].where is empty; say which rows, for example by their id"
    );
    let error = refused("store: erp", "store: epr");
    assert_eq!(
        error.to_string(),
        "generators[shop].templates[sale].rows[1].store names no PostgreSQL store: `epr`"
    );
    let error = refused("{min: 1, max: 4}", "{min: 4, max: 1}");
    assert_eq!(error.path, "generators[shop].templates[sale].rows[0].children[0].count");
    let error =
        refused("customer_name: {person: {by: customer_id}}", "customer_name: {person: {by: customer}}");
    assert_eq!(error.path, "generators[shop].templates[sale].rows[0].values.customer_name");
}

proptest! {
    #[test]
    fn updates_and_deletes_name_only_rows_that_exist(seed: u64) {
        let templates = Templates::compile(&work(SHOP)).unwrap();
        for (_, transactions) in rounds(&templates, seed, 20) {
            for statement in transactions.iter().flat_map(|transaction| &transaction.statements) {
                match statement.operation {
                    Operation::Insert => {}
                    Operation::Update => prop_assert!((100..110).contains(&int(cell(&statement.matching, "product_id")))),
                    Operation::Delete => prop_assert!((1_000..1_010).contains(&int(cell(&statement.matching, "id")))),
                }
            }
        }
    }
}
