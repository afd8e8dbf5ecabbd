//! The manifest files of `acequia run`: which they are, what is in them, and whether they have changed.

use std::fmt;
use std::path::{Path, PathBuf};

use acequia_crds::manifest::{self, Document, Subject};
use acequia_crds::pipeline::Pipeline;
use acequia_crds::problem::{Problem, render};
use serde::Serialize;

use crate::desired::{ConfigMaps, Settings, desired};
use crate::model::desired::Desired;

/// Everything that was given with `-f`, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    files: Vec<(PathBuf, String)>,
}

impl Texts {
    /// Texts that need not be files; the paths are for messages.
    pub const fn new(files: Vec<(PathBuf, String)>) -> Self {
        Self { files }
    }
}

/// A manifest that can be carried out.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The Pipeline as it was written.
    pub pipeline: Pipeline,
    /// Everything that shall be.
    pub desired: Desired,
}

/// Why there is nothing that can be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder can't be read.
    #[error("{path} can't be read: {source}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No Pipeline in any of the files.
    #[error("no Pipeline in {}; give -f a file or a folder of *.yaml files that holds one", list(.paths))]
    NoPipeline {
        /// What was given.
        paths: Vec<PathBuf>,
    },
    /// More than one Pipeline.
    #[error("one run keeps one Pipeline, and there are {}: {}; start one run for each, with its own -f and --state", .names.len(), .names.join(", "))]
    SeveralPipelines {
        /// `name (file)` of each.
        names: Vec<String>,
    },
    /// The manifest says what can't be.
    #[error("{0}")]
    Invalid(Faults),
}

/// Everything that is wrong, file by file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults {
    /// The problems of each file.
    pub files: Vec<FileFaults>,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileFaults {
    /// The file.
    pub file: String,
    /// Its problems, in its order.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for faults in &self.files {
            f.write_str(&render(&faults.problems, &faults.file))?;
        }
        Ok(())
    }
}

impl Faults {
    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.files.iter().all(|faults| faults.problems.is_empty())
    }

    /// Adds the problems of a file, if there are any.
    pub fn add(&mut self, file: &Path, problems: Vec<Problem>) {
        if !problems.is_empty() {
            self.files.push(FileFaults { file: file.display().to_string(), problems });
        }
    }
}

/// Reads files, and all `*.yaml` and `*.yml` of folders.
pub fn read(paths: &[PathBuf]) -> Result<Texts, Error> {
    let mut files = Vec::new();
    for path in paths {
        for file in expand(path)? {
            let text = std::fs::read_to_string(&file)
                .map_err(|source| Error::Unreadable { path: file.clone(), source })?;
            files.push((file, text));
        }
    }
    Ok(Texts { files })
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// All documents, file by file.
pub fn documents(texts: &Texts) -> Result<Vec<(&Path, Document)>, Error> {
    let mut documents = Vec::new();
    let mut faults = Faults::default();
    for (file, text) in &texts.files {
        match manifest::read(text) {
            Ok(found) => documents.extend(found.into_iter().map(|document| (file.as_path(), document))),
            Err(problems) => faults.add(file, problems),
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(Error::Invalid(faults)) }
}

/// The one Pipeline in the texts, and what shall be.
pub fn load(texts: &Texts, settings: &Settings) -> Result<Manifest, Error> {
    let documents = documents(texts)?;
    let (file, document) = the_one(texts, &documents)?;
    let pipeline = valid(file, document)?;
    let namespace = document.namespace.as_deref().unwrap_or(&settings.namespace);
    let config_maps = config_maps(&documents, namespace, settings);
    let desired =
        desired(&pipeline, &config_maps, settings).map_err(|problems| invalid(file, document, problems))?;
    Ok(Manifest { pipeline, desired })
}

/// The one Pipeline in the texts.
pub fn pipeline(texts: &Texts) -> Result<Pipeline, Error> {
    let documents = documents(texts)?;
    let (file, document) = the_one(texts, &documents)?;
    valid(file, document)
}

fn the_one<'a>(
    texts: &Texts,
    documents: &'a [(&'a Path, Document)],
) -> Result<(&'a Path, &'a Document), Error> {
    let pipelines: Vec<_> =
        documents.iter().filter(|(_, document)| document.subject == Subject::Pipeline).collect();
    match pipelines.as_slice() {
        [(file, document)] => Ok((file, document)),
        [] => {
            let paths = texts.files.iter().map(|(path, _)| path.clone()).collect();
            Err(Error::NoPipeline { paths })
        }
        several => {
            let name =
                |(file, document): &&(&Path, Document)| format!("{} ({})", document.name, file.display());
            Err(Error::SeveralPipelines { names: several.iter().map(name).collect() })
        }
    }
}

fn valid(file: &Path, document: &Document) -> Result<Pipeline, Error> {
    let (pipeline, problems) = document.pipeline();
    match pipeline {
        Some(pipeline) if problems.is_empty() => Ok(pipeline),
        _ => Err(invalid(file, document, problems)),
    }
}

fn invalid(file: &Path, document: &Document, mut problems: Vec<Problem>) -> Error {
    document.locate(&mut problems);
    let mut faults = Faults::default();
    faults.add(file, problems);
    Error::Invalid(faults)
}

/// ConfigMaps of the Pipeline's namespace.
fn config_maps(documents: &[(&Path, Document)], namespace: &str, settings: &Settings) -> ConfigMaps {
    documents
        .iter()
        .map(|(_, document)| document)
        .filter(|document| document.subject == Subject::ConfigMap)
        .filter(|document| document.namespace.as_deref().unwrap_or(&settings.namespace) == namespace)
        .map(|document| (document.name.clone(), document.config_map_data()))
        .collect()
}

/// Everything that is wrong with any Pipeline in the texts, apart from what this version can't do yet.
pub fn lint(texts: &Texts) -> Result<(usize, Faults), Error> {
    let mut faults = Faults::default();
    let mut count = 0;
    for (file, document) in documents(texts)? {
        if document.subject == Subject::Pipeline {
            count += 1;
            faults.add(file, document.pipeline().1);
        }
    }
    Ok((count, faults))
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "nothing at all".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
