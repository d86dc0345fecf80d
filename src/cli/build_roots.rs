//! Directories whose files are not manifests yet: a program builds manifests from them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::{Code, Diagnostic};

/// A program that builds manifests from a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ManifestBuilder {
    /// `kubectl kustomize`, which reads patches and generators beside manifests.
    Kustomize,
    /// `helm template`, which reads templates.
    Helm,
}

/// The files that make a directory one to build, by the exact names that the programs look for
/// (`konfig.RecognizedKustomizationFileNames` of kustomize, `chartutil.ChartfileName` of Helm).
const MARKS: [(&str, ManifestBuilder); 4] = [
    ("kustomization.yaml", ManifestBuilder::Kustomize),
    ("kustomization.yml", ManifestBuilder::Kustomize),
    ("Kustomization", ManifestBuilder::Kustomize),
    ("Chart.yaml", ManifestBuilder::Helm),
];

impl ManifestBuilder {
    /// Returns the builder of the directory that a file is in, or `None` if the file marks none.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?;
        MARKS
            .iter()
            .find(|(mark, _)| name == *mark)
            .map(|(_, builder)| *builder)
    }

    /// Returns whether directories below one of this builder may be build roots of their own.
    ///
    /// A chart has its subcharts below it, and `helm template` builds them with it.
    pub(super) fn has_roots_below(self) -> bool {
        self == ManifestBuilder::Kustomize
    }

    /// Returns the command that builds a directory and checks the result.
    fn command(self, directory: &str) -> String {
        let directory = shell_word(directory);
        match self {
            ManifestBuilder::Kustomize => {
                format!("kubectl kustomize {directory} | palisade check -")
            }
            ManifestBuilder::Helm => format!("helm template {directory} | palisade check -"),
        }
    }

    fn subject(self) -> &'static str {
        match self {
            ManifestBuilder::Kustomize => "a kustomization",
            ManifestBuilder::Helm => "a Helm chart",
        }
    }

    /// Returns the error for a directory of the file system.
    pub(super) fn refusal(self, directory: &Path) -> Diagnostic {
        let directory = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        let name = directory.display().to_string();
        let help = format!("build it and give the result: `{}`", self.command(&name));
        self.refusal_with(&name, help)
    }

    /// Returns the error for a directory of a revision, which no program can build in place.
    ///
    /// `name` is the directory as the user writes it, `directory` its path from the repository's
    /// root.
    pub(super) fn refusal_in_revision(self, name: &str, directory: &str) -> Diagnostic {
        let directory = if directory.is_empty() { "." } else { directory };
        let help = format!(
            "check the revision out with `git worktree add`, build the directory there, and give \
             the result: `{}`",
            self.command(directory)
        );
        self.refusal_with(name, help)
    }

    fn refusal_with(self, name: &str, help: String) -> Diagnostic {
        let message = format!(
            "`{name}` is {}: its files are no manifests before they are built",
            self.subject()
        );
        Diagnostic::new(Code::NeedsBuild, message).help(help)
    }
}

/// Returns the build roots among files, each with its builder, by directory.
///
/// `files` are paths below one directory, which the empty path stands for. Roots in a chart are
/// part of that chart and left out.
pub(super) fn among<'path>(
    files: impl Iterator<Item = &'path str>,
) -> BTreeMap<&'path str, ManifestBuilder> {
    let mut roots: BTreeMap<&str, ManifestBuilder> = BTreeMap::new();
    for file in files {
        let Some(builder) = ManifestBuilder::of_file(Path::new(file)) else {
            continue;
        };
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let first = roots
            .get(directory)
            .map_or(builder, |known| builder.min(*known));
        roots.insert(directory, first);
    }

    let all = roots.clone();
    roots.retain(|directory, _| {
        let mut above = ancestors(directory).skip(1);
        !above.any(|above| {
            all.get(above)
                .is_some_and(|builder| !builder.has_roots_below())
        })
    });
    roots
}

/// Returns whether a file lies in a root or anywhere below it.
pub(super) fn holds(roots: &BTreeMap<&str, ManifestBuilder>, file: &str) -> bool {
    ancestors(file)
        .skip(1)
        .any(|above| roots.contains_key(above))
}

/// Returns a relative path and all directories above it, the empty one last.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rsplit_once('/') {
        Some((above, _)) => Some(above),
        None => (!path.is_empty()).then_some(""),
    })
}

/// Returns a path as a shell reads it as one word, and a program as no option.
fn shell_word(path: &str) -> String {
    let path = if path.starts_with('-') {
        format!("./{path}")
    } else {
        path.to_owned()
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./@%+=:,".contains(&byte);
    match path.bytes().all(is_plain) && !path.is_empty() {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_word_for_a_shell() {
        let words = [
            ("overlays/prod", "overlays/prod"),
            ("-x", "./-x"),
            ("a b", "'a b'"),
            ("a'; rm -rf b", r"'a'\''; rm -rf b'"),
            ("$(id)", "'$(id)'"),
            ("~root", "'~root'"),
            ("", "''"),
        ];
        for (path, word) in words {
            assert_eq!(shell_word(path), word);
        }
    }

    #[test]
    fn roots_are_found_at_any_depth_and_charts_hold_their_subcharts() {
        let files = [
            "a/kustomization.yaml",
            "a/b/c/Kustomization",
            "a/b/patch.yaml",
            "chart/Chart.yaml",
            "chart/charts/sub/Chart.yaml",
            "chart/templates/kustomization.yml",
            "both/Chart.yaml",
            "both/kustomization.yml",
            "chart.yaml",
            "plain/kustomization.yaml.bak",
            "plain/policy.yaml",
        ];
        let roots = among(files.into_iter());
        let expected = [
            ("a", ManifestBuilder::Kustomize),
            ("a/b/c", ManifestBuilder::Kustomize),
            ("both", ManifestBuilder::Kustomize),
            ("chart", ManifestBuilder::Helm),
        ];
        assert_eq!(roots, expected.into_iter().collect());

        let read: Vec<&str> = files
            .into_iter()
            .filter(|file| !holds(&roots, file))
            .collect();
        assert_eq!(
            read,
            [
                "chart.yaml",
                "plain/kustomization.yaml.bak",
                "plain/policy.yaml"
            ]
        );
        assert!(holds(
            &among(["Chart.yaml"].into_iter()),
            "templates/policy.yaml"
        ));
    }
}
