//! Policies as AWS writes them down.

use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// The version of the language in which `${*}` means a star.
const VERSION: &str = "2012-10-17";

/// A policy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// A statement of a policy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    pub sid: &'static str,
    pub effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<&'static str>,
    pub action: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

impl Statement {
    /// Allows actions.
    pub fn allow(sid: &'static str, action: Vec<&'static str>, resource: Vec<String>) -> Self {
        let not_resource = Vec::new();
        Self { sid, effect: "Allow", principal: None, action, resource, not_resource, condition: None }
    }

    /// Denies an action to everybody, under a condition.
    pub fn deny(sid: &'static str, action: &'static str, resource: Vec<String>, condition: Value) -> Self {
        let (action, principal) = (vec![action], Some("*"));
        Self { sid, effect: "Deny", principal, action, resource, not_resource: Vec::new(), condition: Some(condition) }
    }
}

/// The text of a policy.
pub fn policy(statement: Vec<Statement>) -> Result<String> {
    json(&Policy { version: VERSION, statement })
}

/// JSON for people, with a newline at its end.
pub fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|e| Error::usage("the settings", format!("can't be written as JSON: {e}")))
}
