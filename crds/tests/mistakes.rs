//! Typical mistakes: `mistakes/<name>.yaml` has one, `mistakes/<name>.txt` is what `acequia lint -f <name>.yaml` says.
//! A new file is a new test; `UPDATE_GOLDEN=1` writes what is said now.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};

use acequia_crds::manifest;
use acequia_crds::problem::render;

fn mistakes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    found.sort();
    found
}

#[test]
fn every_mistake_is_told_in_these_words() {
    let mut wrong = Vec::new();
    for path in mistakes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.file_name().unwrap().to_string_lossy();
        let said = render(&manifest::lint(&text), &file);
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if said != expected || said.is_empty() {
            wrong.push(format!("{file}\n  expected: {expected}  said:     {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Somebody has to be able to act on the line alone.
#[test]
fn every_message_names_place_and_fix_in_few_words() {
    assert!(mistakes().len() >= 30);
    for path in mistakes() {
        let text = std::fs::read_to_string(&path).unwrap();
        for problem in manifest::lint(&text) {
            assert!(problem.line.is_some() && problem.column.is_some(), "{}: {problem}", path.display());
            assert!(!problem.fix.is_empty(), "{}: {problem}", path.display());
            assert!(problem.to_string().chars().count() <= 240, "{}: {problem}", path.display());
        }
    }
}

#[test]
fn problems_are_json_too() {
    let text = "apiVersion: acequia.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: a}\nspec: {}\n";
    let json = serde_json::to_value(manifest::lint(text)).unwrap();
    assert_eq!(json[0]["path"], "spec.kafka");
    assert_eq!(json[0]["line"], 4);
    assert!(json[0]["fix"].is_string() && json[0]["message"].is_string());
}
