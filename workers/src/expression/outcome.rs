//! What the interpreter yields, as a value of ours.

use std::borrow::Cow;
use std::fmt::Write as _;

use cel::ExecutionError;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp,
    CelType, CelUInt,
};
use cel::common::value::Val;

use super::number::{DecimalValue, WrittenNumber};
use super::value::Value;

/// The value; an error text when it is none that leaves an expression, such as a duration.
pub(super) fn value(result: &(dyn Val + '_)) -> Result<Value<'static>, String> {
    if let Some(value) = scalar(result) {
        return Ok(value);
    }
    let mut json = String::new();
    write_json(result, &mut json)?;
    Ok(Value::Json(Cow::Owned(json)))
}

fn scalar(result: &(dyn Val + '_)) -> Option<Value<'static>> {
    if let Some(value) = result.downcast_ref::<DecimalValue>() {
        Some(Value::Decimal(value.0))
    } else if let Some(value) = result.downcast_ref::<CelInt>() {
        Some(Value::Int(*value.inner()))
    } else if let Some(value) = result.downcast_ref::<CelString>() {
        Some(Value::Text(Cow::Owned(value.inner().to_owned())))
    } else if let Some(value) = result.downcast_ref::<CelBool>() {
        Some(Value::Bool(*value.inner()))
    } else if let Some(value) = result.downcast_ref::<CelDouble>() {
        Some(Value::Double(*value.inner()))
    } else if let Some(value) = result.downcast_ref::<WrittenNumber>() {
        Some(Value::Number(Cow::Owned(value.text.to_string())))
    } else if let Some(value) = result.downcast_ref::<CelTimestamp>() {
        Some(Value::Timestamp(value.inner().timestamp_micros()))
    } else if let Some(value) = result.downcast_ref::<CelUInt>() {
        Some(Value::Number(Cow::Owned(value.inner().to_string())))
    } else if let Some(value) = result.downcast_ref::<CelBytes>() {
        Some(Value::Bytes(value.inner().to_vec()))
    } else if let Some(value) = result.downcast_ref::<CelType>() {
        Some(Value::Text(Cow::Owned(value.name().to_owned())))
    } else {
        result.downcast_ref::<CelNull>().map(|_| Value::Null)
    }
}

/// Appends the JSON text of a value. Members are in the order of their names, so equal values have equal texts.
fn write_json(result: &(dyn Val + '_), json: &mut String) -> Result<(), String> {
    if let Some(list) = result.downcast_ref::<CelList>() {
        json.push('[');
        for (index, element) in list.inner().iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            write_json(element.as_ref(), json)?;
        }
        json.push(']');
        return Ok(());
    }
    if let Some(map) = result.downcast_ref::<CelMap>() {
        let mut members: Vec<_> = map.inner().iter().map(|(key, member)| (name(key), member)).collect();
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        json.push('{');
        for (index, (name, member)) in members.into_iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            write_text(&name, json);
            json.push(':');
            write_json(member.as_ref(), json)?;
        }
        json.push('}');
        return Ok(());
    }
    match scalar(result) {
        Some(Value::Null) => json.push_str("null"),
        Some(Value::Bool(value)) => json.push_str(if value { "true" } else { "false" }),
        Some(Value::Int(value)) => write_plain(value, json),
        Some(Value::Decimal(value)) => write_plain(value, json),
        Some(Value::Double(value)) if value.is_finite() => write_plain(value, json),
        Some(Value::Number(text)) => json.push_str(&text),
        Some(Value::Text(text)) => write_text(&text, json),
        _ => return Err(format!("a {} can't leave an expression", result.get_type().name())),
    }
    Ok(())
}

fn write_plain(value: impl std::fmt::Display, json: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(json, "{value}");
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

fn name(key: &CelMapKey<'_>) -> String {
    match key {
        CelMapKey::Bool(key) => key.inner().to_string(),
        CelMapKey::Int(key) => key.inner().to_string(),
        CelMapKey::String(key) => key.inner().to_owned(),
        CelMapKey::UInt(key) => key.inner().to_string(),
    }
}

/// The interpreter's error in words, without its notation for values.
pub(super) fn message(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, message } => format!("`{function}`: {message}"),
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(" and ");
            format!("`{}` doesn't go with {types}", overload.function())
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the result is out of the range of a whole number".to_owned(),
        error => error.to_string(),
    }
}
