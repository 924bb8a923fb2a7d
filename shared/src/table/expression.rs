//! Update and condition expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// The longest expression, in bytes. Source: *Constraints in Amazon DynamoDB*, Developer Guide.
const MAX_BYTES: usize = 4_096;

/// An update expression with its placeholders.
///
/// DynamoDB limits an expression to 4 KB. Placeholders are as short as possible, and 500 sums fit.
/// Removals come last, and those that no longer fit are left out.
#[derive(Debug, Default)]
pub(super) struct UpdateExpression {
    add: Vec<String>,
    set: Vec<String>,
    remove: Vec<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
    placeholders: usize,
}

impl UpdateExpression {
    /// Adds a number to an attribute, or members to a set. An absent attribute counts as 0 or as
    /// empty.
    pub(super) fn add(&mut self, attribute: String, value: AttributeValue) {
        let (name, placeholder) = self.bind(attribute, value);
        self.add.push(format!("{name} {placeholder}"));
    }

    /// Sets an attribute.
    pub(super) fn set(&mut self, attribute: &str, value: AttributeValue) {
        let (name, placeholder) = self.bind(attribute.to_owned(), value);
        self.set.push(format!("{name}={placeholder}"));
    }

    /// Sets an attribute, unless the item has it.
    pub(super) fn set_if_absent(&mut self, attribute: &str, value: AttributeValue) {
        let (name, placeholder) = self.bind(attribute.to_owned(), value);
        self.set.push(format!("{name}=if_not_exists({name},{placeholder})"));
    }

    /// A condition on an attribute, with placeholders of this expression: that it has this value, or
    /// is not there.
    pub(super) fn equals(&mut self, attribute: String, value: Option<AttributeValue>) -> String {
        match value {
            Some(value) => {
                let (name, placeholder) = self.bind(attribute, value);
                format!("{name}={placeholder}")
            }
            None => {
                let name = self.bind_name(attribute);
                format!("attribute_not_exists({name})")
            }
        }
    }

    /// Removes attributes, as many of them as the expression still has room for.
    pub(super) fn remove_what_fits(&mut self, attributes: impl IntoIterator<Item = String>) {
        let mut room = MAX_BYTES.saturating_sub(self.text().len() + " REMOVE ".len());
        for attribute in attributes {
            let name = format!("#{}", base62(self.placeholders));
            let Some(left) = room.checked_sub(name.len() + 1) else {
                return;
            };
            room = left;
            self.placeholders += 1;
            self.names.insert(name.clone(), attribute);
            self.remove.push(name);
        }
    }

    /// A condition on an attribute, such as `>= :least`.
    pub(super) fn attribute_condition(&mut self, attribute: &str, condition: &str) -> String {
        let name = format!("#{}", base62(self.placeholders));
        self.placeholders += 1;
        self.names.insert(name.clone(), attribute.to_owned());
        format!("{name} {condition}")
    }

    /// Whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.add.is_empty() && self.set.is_empty() && self.remove.is_empty()
    }

    /// The expression's text.
    pub(super) fn text(&self) -> String {
        let clause = |keyword: &str, actions: &[String]| match actions {
            [] => String::new(),
            _ => format!("{keyword} {}", actions.join(",")),
        };
        let clauses =
            [clause("ADD", &self.add), clause("SET", &self.set), clause("REMOVE", &self.remove)];
        let clauses: Vec<_> = clauses.into_iter().filter(|clause| !clause.is_empty()).collect();
        clauses.join(" ")
    }

    fn bind(&mut self, attribute: String, value: AttributeValue) -> (String, String) {
        let placeholder = format!(":{}", base62(self.placeholders));
        self.values.insert(placeholder.clone(), value);
        (self.bind_name(attribute), placeholder)
    }

    fn bind_name(&mut self, attribute: String) -> String {
        let name = format!("#{}", base62(self.placeholders));
        self.placeholders += 1;
        self.names.insert(name.clone(), attribute);
        name
    }
}

/// Consecutive numbers in as few letters and digits as possible.
fn base62(number: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = DIGITS.get(number % 62).copied().map_or('0', char::from);
    match number / 62 {
        0 => digit.to_string(),
        // Less one, so that "00" follows "z": no combination is left out.
        more => base62(more - 1) + &digit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn five_hundred_sums_fit_into_the_4_kb_of_an_expression() {
        let mut expression = UpdateExpression::default();
        expression.set("expires_at", AttributeValue::N("1".into()));
        expression.set_if_absent("incarnation", AttributeValue::N("1".into()));
        expression.set("written_at", AttributeValue::N("1".into()));
        expression.add("writes".to_owned(), AttributeValue::N("1".into()));
        for stat in 0..500 {
            expression.add(format!("c:{stat}"), AttributeValue::N("1".into()));
        }
        let text = expression.text();
        assert!(text.len() <= 4_096, "{}", text.len());
        assert!(text.starts_with("ADD #3 :3,#4 :4,"), "{text}");
        assert!(text.ends_with(" SET #0=:0,#1=if_not_exists(#1,:1),#2=:2"), "{text}");
    }

    #[test]
    fn removals_that_do_not_fit_are_left_out() {
        let mut expression = UpdateExpression::default();
        for stat in 0..450 {
            expression.add(format!("c:{stat}"), AttributeValue::N("1".into()));
        }
        expression.remove_what_fits((0..900).map(|stat| format!("g1:{stat}")));
        let text = expression.text();
        assert!((4_080..=4_096).contains(&text.len()), "{}", text.len());
        assert!(expression.remove.len() > 50);
        assert_eq!(expression.names.len(), 450 + expression.remove.len());
    }

    #[test]
    fn placeholders_are_unique() {
        let unique: BTreeSet<_> = (0..10_000).map(base62).collect();
        assert_eq!(unique.len(), 10_000);
    }
}
