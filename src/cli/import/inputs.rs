//! Which files do the arguments name?

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Standard input.
    Stdin,
    /// File named by an argument or pattern.
    Named(PathBuf),
    /// File found in a directory. It may be anything, such as a licence, and is skipped if it is not telemetry.
    Found(PathBuf),
}

impl Input {
    /// Name of the input in messages.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Named(path) | Self::Found(path) => path.display().to_string(),
        }
    }

    /// Path of the file; `None` for standard input.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::Named(path) | Self::Found(path) => Some(path),
        }
    }
}

/// Expands arguments: `-`, files, directories (all files below that are not hidden, ordered by name) and glob
/// patterns.
///
/// Fails with [`ErrorKind::NotFound`] if an argument is none of these.
pub(super) fn expand(arguments: &[String]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            descend(path, &mut inputs)?;
        } else if path.exists() {
            inputs.push(Input::Named(path.to_owned()));
        } else {
            expand_pattern(argument, &mut inputs)?;
        }
    }
    Ok(inputs)
}

fn expand_pattern(pattern: &str, inputs: &mut Vec<Input>) -> Result<()> {
    let none = || {
        Error::new(
            ErrorKind::NotFound,
            format!("{pattern}: no such file, and no file matches it as a pattern"),
        )
    };
    let paths = glob::glob(pattern).map_err(|e| none().with_source(e))?;
    let before = inputs.len();
    for path in paths {
        let path = path.map_err(|e| Error::from(std::io::Error::from(e)))?;
        if path.is_dir() {
            descend(&path, inputs)?;
        } else {
            inputs.push(Input::Named(path));
        }
    }
    if inputs.len() == before { Err(none()) } else { Ok(()) }
}

fn descend(directory: &Path, inputs: &mut Vec<Input>) -> Result<()> {
    let unreadable = |e: std::io::Error| Error::from(e).context(directory.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        // A link to a directory could lead in circles.
        if hidden || path.is_symlink() && path.is_dir() {
            continue;
        }
        if path.is_dir() {
            descend(&path, inputs)?;
        } else {
            inputs.push(Input::Found(path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_files_directories_and_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for name in ["b.json", "a.csv", ".hidden", "sub/c.csv"] {
            std::fs::write(at(name), "").unwrap();
        }
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let found = expand(&[text(dir.path().to_owned())]).unwrap();
        assert_eq!(found, [at("a.csv"), at("b.json"), at("sub/c.csv")].map(Input::Found));
        let found = expand(&[text(at("*.csv")), "-".to_owned(), text(at("b.json"))]).unwrap();
        assert_eq!(found, [Input::Named(at("a.csv")), Input::Stdin, Input::Named(at("b.json"))]);
        assert_eq!(expand(&[text(at("*.pb"))]).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
