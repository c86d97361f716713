//! Aliases: which version a run takes that asks for `champion`. Each is a row of numbered objects, made and never changed,
//! so that of several who want to make the next one exactly one does.

use std::fmt;
use std::time::SystemTime;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AT_ONCE, Registry, RegistryError, VersionName, written};

/// What made an entry that goes back to an earlier version, as [`AliasEntry::by`] has it.
pub const ROLLBACK: &str = "models rollback";

/// A name that points to one version now, and to another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alias {
    /// The one to work with.
    Champion,
    /// The last one that was judged against it.
    Challenger,
}

/// One entry of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasEntry {
    /// Its number, from 1 on.
    pub number: u32,
    /// The alias.
    pub alias: Alias,
    /// The version it points to.
    pub version: VersionName,
    /// What made it: a night, a verb.
    pub by: String,
    /// Why, in words for people.
    pub why: String,
    /// When: RFC 3339, UTC.
    pub at: String,
}

/// How an attempt to point an alias ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointed {
    /// This entry is ours, and the last.
    Won(AliasEntry),
    /// Somebody else was first: the last entry now.
    Lost(AliasEntry),
}

impl Alias {
    /// Every alias.
    pub const ALL: [Self; 2] = [Self::Champion, Self::Challenger];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
        }
    }

    /// Returns the alias of that name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alias| alias.as_str() == text)
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Registry {
    /// Returns the last entry of an alias, `None` if it never pointed anywhere.
    ///
    /// # Errors
    /// A damaged entry; the store's.
    pub async fn alias(&self, alias: Alias) -> Result<Option<AliasEntry>, RegistryError> {
        match self.numbers(alias).await?.pop() {
            Some(last) => Ok(Some(self.entry(alias, last).await?)),
            None => Ok(None),
        }
    }

    /// Returns every entry of an alias, first to last.
    ///
    /// # Errors
    /// As [`Registry::alias`].
    pub async fn history(&self, alias: Alias) -> Result<Vec<AliasEntry>, RegistryError> {
        let numbers = self.numbers(alias).await?;
        let read = |number: u32| {
            let registry = self.clone();
            async move { registry.entry(alias, number).await }
        };
        let entries = futures::stream::iter(numbers).map(read).buffered(AT_ONCE);
        entries.try_collect().await
    }

    /// Points an alias to a version by the entry after number `after`, the last one that the caller has seen (0 for
    /// none): compare and set. Of several callers who have seen the same one wins.
    ///
    /// # Errors
    /// There is no such version; a damaged entry; the store's, and then it is not known whether the entry is there.
    pub async fn point(
        &self,
        alias: Alias,
        to: &VersionName,
        after: u32,
        by: &str,
        why: &str,
    ) -> Result<Pointed, RegistryError> {
        self.version(to).await?;
        let entry = AliasEntry {
            number: after.saturating_add(1),
            alias,
            version: to.clone(),
            by: by.to_owned(),
            why: why.to_owned(),
            at: written(SystemTime::now()),
        };
        let tail = tail(alias, entry.number);
        let last = self.numbers(alias).await?.pop().unwrap_or(0);
        if last == after {
            let text = format!("{:#}\n", json!(entry));
            if self.place(&tail).create(text.into()).await? {
                return Ok(Pointed::Won(entry));
            }
        }
        match self.alias(alias).await? {
            Some(now) => Ok(Pointed::Lost(now)),
            None => Err(self.damaged(&tail, format!("expected entry {after} before it, found none"))),
        }
    }

    async fn entry(&self, alias: Alias, number: u32) -> Result<AliasEntry, RegistryError> {
        let tail = tail(alias, number);
        let Some(entry) = self.told::<AliasEntry>(&tail).await? else {
            return Err(self.damaged(&tail, "expected the entry that was listed, found none".to_owned()));
        };
        if (entry.alias, entry.number) != (alias, number) {
            let reason = format!(
                "expected its own entry, found number {} of {}",
                entry.number, entry.alias
            );
            return Err(self.damaged(&tail, reason));
        }
        Ok(entry)
    }

    /// Returns the numbers of an alias's entries, in order.
    async fn numbers(&self, alias: Alias) -> Result<Vec<u32>, RegistryError> {
        let listed = self.place(&format!("aliases/{alias}")).list().await?;
        let number = |name: &str| {
            let number = name.strip_suffix(".json")?.parse::<u32>().ok()?;
            // nothing but what we write: no sign, and as many zeros
            (file(number) == name).then_some(number)
        };
        let names = listed.iter().filter_map(|object| object.location.filename());
        let mut numbers: Vec<u32> = names.filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn file(number: u32) -> String {
    format!("{number:08}.json")
}

fn tail(alias: Alias, number: u32) -> String {
    format!("aliases/{alias}/{}", file(number))
}

/// Returns the version that an alias pointed to before the one it points to now. What was rolled back counts as never
/// pointed to: to roll back twice goes back by two versions, not to and fro.
pub fn former(history: &[AliasEntry]) -> Option<&VersionName> {
    let mut standing: Vec<&VersionName> = Vec::new();
    for entry in history {
        let is_earlier = |version: &&VersionName| **version == entry.version;
        match standing.iter().rposition(is_earlier) {
            Some(earlier) if entry.by == ROLLBACK => standing.truncate(earlier + 1),
            // pointed to once more, for the same reason or another
            Some(earlier) if earlier + 1 == standing.len() => {}
            _ => standing.push(&entry.version),
        }
    }
    standing.pop();
    standing.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(&str, &str)]) -> Vec<AliasEntry> {
        let entry = |(index, (version, by)): (usize, &(&str, &str))| AliasEntry {
            number: index as u32 + 1,
            alias: Alias::Champion,
            version: format!("v20261126-0000000{version}").parse().expect("a name"),
            by: (*by).to_owned(),
            why: String::new(),
            at: written(SystemTime::UNIX_EPOCH),
        };
        entries.iter().enumerate().map(entry).collect()
    }

    fn before(entries: &[(&str, &str)]) -> Option<String> {
        former(&history(entries)).map(|version| version.as_str()[10..].trim_start_matches('0').to_owned())
    }

    #[test]
    fn rolling_back_goes_to_the_version_before_and_never_to_what_was_rolled_back() {
        let none: Option<String> = None;
        assert_eq!(before(&[]), none);
        assert_eq!(before(&[("a", "night 1")]), none);
        assert_eq!(
            before(&[("a", "night 1"), ("b", "night 2")]),
            Some("a".to_owned())
        );
        let mut entries = vec![
            ("a", "night 1"),
            ("b", "night 2"),
            ("b", "by hand"),
            ("c", "night 4"),
        ];
        assert_eq!(before(&entries).as_deref(), Some("b"));
        entries.push(("b", ROLLBACK));
        assert_eq!(before(&entries).as_deref(), Some("a"));
        entries.push(("a", ROLLBACK));
        assert_eq!(before(&entries), none);
        entries.push(("d", "night 7"));
        assert_eq!(before(&entries).as_deref(), Some("a"));
    }

    #[test]
    fn an_old_version_that_was_promoted_anew_can_be_rolled_back_too() {
        let entries = [
            ("a", "night 1"),
            ("b", "night 2"),
            ("c", "night 3"),
            ("a", "models promote"),
        ];
        assert_eq!(before(&entries).as_deref(), Some("c"));
        let rolled_back = [&entries[..], &[("c", ROLLBACK)]].concat();
        assert_eq!(before(&rolled_back).as_deref(), Some("b"));
    }
}
