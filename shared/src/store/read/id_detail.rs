//! Reading what is known of an id.

use crate::{
    domain::{Detail, Id},
    store::{Deadline, Store, StoreError, update::Consistency},
    table::{ItemKey, decode_detail},
};

impl Store {
    /// What an id last reported; `None` if no update of it has ever been counted. The read is
    /// consistent.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn detail(&self, id: &Id, deadline: Deadline) -> Result<Option<Detail>, StoreError> {
        let key = [ItemKey::detail(id)].into();
        let found = self.get(key, Consistency::Strong, deadline).await?;
        let stored = found.values().next().map(decode_detail).transpose()?;
        Ok(stored.map(|stored| stored.detail))
    }
}
