//! Enums whose variants have names in JSON, metrics and databases.

use thiserror::Error;

/// A name that is none of an enum's names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown {what} {given:?}; known are {known}")]
pub struct UnknownName {
    what: &'static str,
    given: String,
    known: String,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, given: &str, known: &[&str]) -> Self {
        let given = crate::text::clean(given, 64);
        Self {
            what,
            given,
            known: known.join(", "),
        }
    }
}

/// Defines an enum whose variants each have one stable `snake_case` name, and the four ways to
/// get from one to the other: `ALL`, `as_str`, `Display`, `FromStr`.
///
/// The names are what metrics, JSON and stores carry, so they stand next to their variants.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $what:literal, $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            const NAMES: &'static [&'static str] = &[ $( $text, )+ ];

            /// Returns the stable `snake_case` name, as in metrics, JSON and stores.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $( $text => Ok(Self::$variant), )+
                    _ => Err($crate::UnknownName::new($what, name, Self::NAMES)),
                }
            }
        }

        /// By its name.
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        /// By its name; an unknown one is an error that lists the known ones.
        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str($crate::wire::Named(std::marker::PhantomData))
            }
        }
    };
}

pub(crate) use named;
