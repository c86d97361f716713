//! Dumps in memory, and what becomes of their objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use schemas::LabelScheme;
use schemas::rows::ObjectRow;

use super::super::*;
use crate::dicom::testing::Made;
use crate::store::Place;

/// The key of all tests.
pub fn key() -> SiteKey {
    SiteKey::new(b"sixteen bytes it is").expect("key")
}

/// Objects by key.
#[derive(Debug, Default)]
pub struct Dump {
    pub objects: BTreeMap<String, Bytes>,
    pub series: SeriesConf,
    pub labels: Option<&'static str>,
}

impl Dump {
    /// Puts an object.
    pub fn put(&mut self, key: &str, bytes: Bytes) -> &mut Self {
        self.objects.insert(key.to_owned(), bytes);
        self
    }

    /// Puts objects into a folder, numbered.
    pub fn series(&mut self, folder: &str, objects: &[Made]) -> &mut Self {
        for (number, object) in objects.iter().enumerate() {
            self.put(&format!("{folder}/{number}"), object.file());
        }
        self
    }

    /// Returns an empty place for it.
    pub fn place(&self) -> Place {
        Place {
            store: Arc::new(InMemory::new()),
            path: Path::from("dump"),
        }
    }

    /// Puts all into a store and makes an index of it.
    pub async fn index(&self) -> Indexed {
        let place = self.place();
        for (key, bytes) in &self.objects {
            place.join(key).put(bytes.clone()).await.expect("put");
        }
        index_of(&place, self).await
    }

    /// Makes an index of what has been looked at.
    pub fn of(&self, looked: &[Looked]) -> Indexed {
        let scheme = |name: &&str| LabelScheme::named(name, &BTreeMap::new()).expect("scheme");
        let labels = self.labels.as_ref().map(|name| Labels::of(name, &scheme(name)));
        let options = Options {
            series: &self.series,
            stack: &StackConf::default(),
            key: &key(),
            labels,
            reference_labels: None,
        };
        index(looked, &options)
    }

    /// Returns the row of an object.
    pub fn row<'a>(&self, found: &'a Indexed, name: &str) -> &'a ObjectRow {
        let object = key().object(&format!("dump/{name}"));
        let mut rows = found.objects.iter();
        rows.find(|row| row.object == object).expect(name)
    }

    /// Returns outcome, and role or reason.
    pub fn fate(&self, found: &Indexed, name: &str) -> String {
        let row = self.row(found, name);
        let why = row.role.or(row.reason).unwrap_or_default();
        format!("{} {why}", row.outcome)
    }

    /// Holds every object against the fate of the name that it begins with.
    pub fn assert_fates(&self, found: &Indexed, expected: &[(&str, &str)]) {
        for key in self.objects.keys() {
            let is_of = |name: &str| key == name || (name.ends_with('/') && key.starts_with(name));
            let (_, expected) = expected.iter().find(|(name, _)| is_of(name)).expect(key);
            assert_eq!(self.fate(found, key), *expected, "{key}");
        }
        assert_eq!(found.objects.len(), self.objects.len());
    }
}

/// Makes an index of what lies at a place.
pub async fn index_of(place: &Place, dump: &Dump) -> Indexed {
    let listed = place.list().await.expect("list");
    let mut base = url::Url::parse("memory:///").expect("url");
    let objects = listed.into_iter().map(|meta| {
        let parts: Vec<String> = meta
            .location
            .parts()
            .map(|part| part.as_ref().to_owned())
            .collect();
        base.set_path("");
        base.path_segments_mut().expect("segments").extend(parts);
        (base.to_string(), meta)
    });
    let objects = objects.collect();
    let looked = look_at(place, objects, 4.try_into().expect("four"), &Progress::default()).await;
    dump.of(&looked)
}
