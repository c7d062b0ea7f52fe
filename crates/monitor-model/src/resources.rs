//! What probes share: a pool of connections, say, found by name and type.

use std::any::{Any, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use monitor_fault::{Fault, Layer, Reason};

type Shared = Arc<dyn Any + Send + Sync>;

/// Named, typed things that probes share. Clones are handles to the same ones.
///
/// A probe gets them in its [`ProbeContext`](crate::ProbeContext) and asks at each check, so that
/// what was replaced meanwhile is found as it now is.
///
/// ```
/// use monitor_model::Resources;
///
/// let resources = Resources::default();
/// resources.insert("greeting", String::from("hello")).unwrap();
/// assert_eq!(*resources.get::<String>("greeting").unwrap(), "hello");
/// assert_eq!(
///     resources.get::<String>("greetings").unwrap_err().to_string(),
///     r#"there is no resource "greetings"; there are: greeting"#,
/// );
/// ```
#[derive(Clone, Default)]
pub struct Resources(Arc<RwLock<BTreeMap<String, Shared>>>);

/// Why a resource was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// There is none of that name.
    #[error("there is no resource {name:?}; there are: {}", list(known))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// There is one, of another type.
    #[error("resource {name:?} is no {wanted}")]
    OtherType {
        /// The name asked for.
        name: String,
        /// The type asked for.
        wanted: &'static str,
    },
}

/// A resource of that name is there already. Nothing was replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is a resource {name:?} already; remove it first, or choose another name")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}

impl Resources {
    /// Adds `resource` under `name`.
    ///
    /// # Errors
    /// [`NameTaken`]: nothing changed.
    pub fn insert<T: Any + Send + Sync>(
        &self,
        name: impl Into<String>,
        resource: T,
    ) -> Result<(), NameTaken> {
        let (name, resource): (_, Shared) = (name.into(), Arc::new(resource));
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&name) {
            drop(all); // before the refused resource
            return Err(NameTaken { name });
        }
        all.insert(name, resource);
        Ok(())
    }

    /// Takes the resource `name` away; whoever holds it keeps it. `false`: there was none.
    pub fn remove(&self, name: &str) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let removed = all.remove(name);
        drop(all); // before the resource: its destructor may come back here
        removed.is_some()
    }

    /// The resource `name`.
    ///
    /// # Errors
    /// [`ResourceError`] when there is none, or not of type `T`.
    pub fn get<T: Any + Send + Sync>(&self, name: &str) -> Result<Arc<T>, ResourceError> {
        let found = self.read().get(name).cloned();
        let Some(found) = found else {
            return Err(ResourceError::Unknown {
                name: name.to_owned(),
                known: self.names(),
            });
        };
        found.downcast().map_err(|_| ResourceError::OtherType {
            name: name.to_owned(),
            wanted: type_name::<T>(),
        })
    }

    /// The names that there are, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Shared>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resources").field(&self.names()).finish()
    }
}

/// A probe that looks for what is not there is set up wrongly: nothing is said about its target.
impl From<ResourceError> for Fault {
    fn from(error: ResourceError) -> Self {
        Self::new(Layer::Config, Reason::Invalid).with_detail(error.to_string())
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use monitor_fault::Blame;

    use super::*;

    #[test]
    fn found_by_name_and_type() {
        let resources = Resources::default();
        assert_eq!(
            resources.get::<u8>("one").unwrap_err().to_string(),
            r#"there is no resource "one"; there are: none"#
        );
        resources.insert("one", 1_u8).unwrap();
        assert_eq!(*resources.get::<u8>("one").unwrap(), 1);
        let other = resources.get::<u16>("one").unwrap_err();
        assert_eq!(other.to_string(), r#"resource "one" is no u16"#);
        assert_eq!(Fault::from(other).blame(), Blame::Prober);
    }

    #[test]
    fn a_taken_name_is_refused_and_a_removed_one_is_free() {
        let resources = Resources::default();
        resources.insert("one", 1_u8).unwrap();
        let held = resources.get::<u8>("one").unwrap();
        let taken = resources.clone().insert("one", 2_u8).unwrap_err();
        assert_eq!(taken.name, "one");
        assert!(resources.remove("one"));
        assert!(!resources.remove("one"));
        resources.insert("one", 3_u8).unwrap();
        assert_eq!((*held, *resources.get::<u8>("one").unwrap()), (1, 3));
        assert_eq!(resources.names(), ["one"]);
    }

    /// A destructor may use the resources: none runs under their lock.
    #[test]
    fn a_destructor_may_come_back() {
        struct Last(Resources);
        impl Drop for Last {
            fn drop(&mut self) {
                assert_eq!(self.0.names(), Vec::<String>::new());
            }
        }
        let resources = Resources::default();
        resources.insert("last", Last(resources.clone())).unwrap();
        assert!(resources.remove("last"));
    }
}
