//! A number in the configuration that may be left to the program.

use std::num::NonZeroUsize;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A number, or "auto".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Count {
    /// What suits the machine.
    #[default]
    Auto,
    /// That many.
    Fixed(NonZeroUsize),
}

impl Count {
    /// Returns whether the number is left open.
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }

    /// Returns the number, `auto` where it is left open.
    pub fn or(self, auto: usize) -> NonZeroUsize {
        match self {
            Self::Auto => NonZeroUsize::new(auto).unwrap_or(NonZeroUsize::MIN),
            Self::Fixed(number) => number,
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(number) => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .and_then(NonZeroUsize::new);
        match (value.as_str(), number) {
            (Some("auto"), _) => Ok(Self::Auto),
            (_, Some(number)) => Ok(Self::Fixed(number)),
            _ => Err(serde::de::Error::custom(format!(
                "expected \"auto\" or a number from 1, found {value}"
            ))),
        }
    }
}
