//! The one definition of the table. `template.yaml` says the same to CloudFormation.

use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::{
        create_table::builders::CreateTableFluentBuilder,
        update_time_to_live::builders::UpdateTimeToLiveFluentBuilder,
    },
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TimeToLiveSpecification,
    },
};

use super::attribute::{EXPIRES_AT, PARTITION_KEY, SORT_KEY};

/// The request that creates the table.
///
/// # Errors
/// Never, as long as this function sets what the SDK requires.
pub fn create_table(client: &Client, name: &str) -> Result<CreateTableFluentBuilder, BuildError> {
    let mut request =
        client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (attribute, key_type) in [(PARTITION_KEY, KeyType::Hash), (SORT_KEY, KeyType::Range)] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(ScalarAttributeType::S)
            .build()?;
        let element =
            KeySchemaElement::builder().attribute_name(attribute).key_type(key_type).build()?;
        request = request.attribute_definitions(definition).key_schema(element);
    }
    Ok(request)
}

/// The request that makes DynamoDB delete what has expired.
///
/// # Errors
/// Never, as long as this function sets what the SDK requires.
pub fn time_to_live(
    client: &Client,
    name: &str,
) -> Result<UpdateTimeToLiveFluentBuilder, BuildError> {
    let specification =
        TimeToLiveSpecification::builder().attribute_name(EXPIRES_AT).enabled(true).build()?;
    Ok(client.update_time_to_live().table_name(name).time_to_live_specification(specification))
}
