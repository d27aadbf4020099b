//! What tokens cost, from a dated table that is data: one comes along, and a file may stand in its place. A model that is not in it, or not on
//! that day, has no price, which is not the same as none to pay.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lently_cache::Cost;
use serde_json::Value;

/// The table that comes along. Prices of a call with more than 200,000 tokens, which some models have, are not in it: no call of ours is near it.
const BUILT_IN: &str = include_str!("../prices.json");
/// Models in a table.
const MODELS_MAX: usize = 1_000;
/// No token is as dear; a number above it is a price per token, or a slip.
const DOLLARS_PER_MILLION_MAX: f64 = 10_000.0;

/// A table of prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Where they are from.
    pub source: String,
    /// When they were read there.
    pub read_on: Date,
    rows: Vec<Row>,
}

/// What a model costs for a time.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    model: String,
    from: Date,
    until: Date,
    /// Billionths of a dollar for a token.
    input_nano: u64,
    output_nano: u64,
}

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {message}")]
pub struct PriceError {
    /// Which field, such as `models[2].prices[0].from`.
    pub field: String,
    /// What it must be.
    pub message: String,
}

impl Prices {
    /// The table that comes along.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the table that comes along is checked by a test")
    }

    /// Reads a table and checks all of it.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let table: Value =
            serde_json::from_str(text).map_err(|error| wrong("", format!("is no JSON: {error}")))?;
        let root = Place { path: String::new(), value: &table };
        root.only(&["source", "read_on", "models"])?;
        let source = root.text("source")?;
        let read_on = root.date("read_on")?.ok_or_else(|| wrong("read_on", "is missing"))?;
        let models = root.list("models", MODELS_MAX)?;
        let mut rows: Vec<Row> = Vec::new();
        for model in models {
            model.only(&["model", "prices"])?;
            let name = model.text("model")?;
            if rows.iter().any(|row| row.model == name) {
                return Err(wrong(model.path_of("model"), format!("names `{name}` a second time")));
            }
            let begun = rows.len();
            for price in model.list("prices", 100)? {
                let row = price.row(&name)?;
                if rows[begun..].iter().any(|other| row.from <= other.until && other.from <= row.until) {
                    return Err(wrong(price.path.clone(), "is for a time that another price is for"));
                }
                rows.push(row);
            }
        }
        Ok(Self { source, read_on, rows })
    }

    /// What some tokens of a model cost, in millionths of a dollar, rounded up; `None` without a price for that day.
    pub fn micro_dollars(&self, model: &str, now: Timestamp, tokens_in: u64, tokens_out: u64) -> Option<u64> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let row =
            self.rows.iter().find(|row| row.model == model && row.from <= today && today <= row.until)?;
        let input = tokens_in.saturating_mul(row.input_nano);
        let output = tokens_out.saturating_mul(row.output_nano);
        Some(input.saturating_add(output).div_ceil(1_000))
    }
}

/// A value in the table, and where it is.
struct Place<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Place<'a> {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A name that is not known is a slip: a price that is not read would be worse.
    fn only(&self, names: &[&str]) -> Result<(), PriceError> {
        let members = self.value.as_object().ok_or_else(|| wrong(self.path.clone(), "must be an object"))?;
        match members.keys().find(|name| !names.contains(&name.as_str())) {
            Some(name) => {
                Err(wrong(self.path_of(name), format!("is not known; known are {}", names.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Result<String, PriceError> {
        let text = self.value[name].as_str().filter(|text| !text.is_empty() && text.len() <= 500);
        text.map(str::to_owned).ok_or_else(|| wrong(self.path_of(name), "must be a text of 1 to 500 bytes"))
    }

    fn list(&self, name: &str, most: usize) -> Result<Vec<Place<'a>>, PriceError> {
        let path = self.path_of(name);
        match self.value[name].as_array() {
            Some(items) if (1..=most).contains(&items.len()) => {
                let place = |(number, value)| Place { path: format!("{path}[{number}]"), value };
                Ok(items.iter().enumerate().map(place).collect())
            }
            _ => Err(wrong(path, format!("must be a list of 1 to {most}"))),
        }
    }

    fn date(&self, name: &str) -> Result<Option<Date>, PriceError> {
        match &self.value[name] {
            Value::Null => Ok(None),
            value => {
                let date = value.as_str().and_then(|text| Date::strptime("%Y-%m-%d", text).ok());
                date.map(Some).ok_or_else(|| wrong(self.path_of(name), "must be a day such as `2026-12-31`"))
            }
        }
    }

    /// Billionths of a dollar for a token: a dollar for a million of them is a thousand.
    fn nano(&self, name: &str) -> Result<u64, PriceError> {
        let dollars =
            self.value[name].as_f64().filter(|dollars| (0.0..=DOLLARS_PER_MILLION_MAX).contains(dollars));
        let nano = dollars.map(|dollars| dollars * 1_000.0);
        let nano = nano.filter(|nano| (nano - nano.round()).abs() < 1e-6);
        nano.map(|nano| nano.round() as u64).ok_or_else(|| {
            let most = DOLLARS_PER_MILLION_MAX;
            wrong(self.path_of(name), format!("must be a number of 0 to {most} with at most three decimals"))
        })
    }

    fn row(&self, model: &str) -> Result<Row, PriceError> {
        let (input, output) = ("input_dollars_per_million", "output_dollars_per_million");
        self.only(&["from", "until", input, output])?;
        let from = self.date("from")?.unwrap_or(Date::MIN);
        let until = self.date("until")?.unwrap_or(Date::MAX);
        if until < from {
            return Err(wrong(self.path_of("until"), "is before `from`"));
        }
        let (input_nano, output_nano) = (self.nano(input)?, self.nano(output)?);
        Ok(Row { model: model.to_owned(), from, until, input_nano, output_nano })
    }
}

fn wrong(field: impl Into<String>, message: impl Into<String>) -> PriceError {
    let field = field.into();
    PriceError {
        field: if field.is_empty() { "the table".to_owned() } else { field },
        message: message.into(),
    }
}

/// A cost in so many shares, which add up to it; none for nobody.
pub(crate) fn split(cost: Cost, among: usize) -> impl Iterator<Item = Cost> {
    let count = among as u64;
    let share = move |of: u64, place: u64| of / count + u64::from(place < of % count);
    (0..count).map(move |place| Cost {
        quota_units: share(cost.quota_units, place),
        tokens_in: share(cost.tokens_in, place),
        tokens_out: share(cost.tokens_out, place),
        micro_dollars: share(cost.micro_dollars, place),
        ..Cost::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    #[test]
    fn shares_add_up_to_what_was_paid() {
        let cost = Cost { tokens_in: 1_001, tokens_out: 7, micro_dollars: 50, ..Cost::default() };
        for among in [1, 3, 50, 999] {
            let shares: Vec<Cost> = split(cost, among).collect();
            assert_eq!(shares.len(), among);
            assert_eq!(shares.into_iter().fold(Cost::default(), |sum, share| sum + share), cost);
        }
        assert_eq!(split(cost, 0).count(), 0);
    }

    #[test]
    fn a_million_tokens_cost_the_list_price_of_their_day() {
        let prices = Prices::built_in();
        let now = at("2026-11-29T12:00:00Z");
        let million = |model, now| prices.micro_dollars(model, now, 1_000_000, 1_000_000);
        assert_eq!(million("gemini-3.5-flash-lite", now), Some(2_800_000));
        assert_eq!(prices.micro_dollars("gemini-3.5-flash-lite", now, 1, 0), Some(1));
        assert_eq!(million("gemini-3.8-flash", at("2026-12-31T23:59:59Z")), Some(4_500_000));
        assert_eq!(million("gemini-3.8-flash", at("2027-01-01T00:00:00Z")), Some(9_000_000));
        assert_eq!(million("somebody-elses-model", now), None, "no price is not a price of zero");
    }

    fn table(models: &str) -> String {
        format!(r#"{{"source":"here","read_on":"2026-11-29","models":{models}}}"#)
    }

    #[test]
    fn a_wrong_table_is_refused_with_the_field_that_is_wrong() {
        let price = |price: &str| table(&format!(r#"[{{"model":"m","prices":[{price}]}}]"#));
        let free = r#"{"input_dollars_per_million":0,"output_dollars_per_million":0}"#;
        for (text, field) in [
            ("{", "the table"),
            (r#"{"source":"here","models":[]}"#, "read_on"),
            (&table("[]"), "models"),
            (&table(r#"[{"model":"m","prices":[]}]"#), "models[0].prices"),
            (&table(r#"[{"model":"m","price":[]}]"#), "models[0].price"),
            (
                &price(r#"{"input_dollars_per_million":-1,"output_dollars_per_million":0}"#),
                "models[0].prices[0].input_dollars_per_million",
            ),
            (&price(r#"{"input_dollars_per_million":0}"#), "models[0].prices[0].output_dollars_per_million"),
            (
                &price(r#"{"from":"tomorrow","input_dollars_per_million":0,"output_dollars_per_million":0}"#),
                "models[0].prices[0].from",
            ),
            (
                &price(
                    r#"{"from":"2026-02-01","until":"2026-01-01","input_dollars_per_million":0,"output_dollars_per_million":0}"#,
                ),
                "models[0].prices[0].until",
            ),
            (&price(&format!("{free},{free}")), "models[0].prices[1]"),
            (
                &table(&format!(r#"[{{"model":"m","prices":[{free}]}},{{"model":"m","prices":[{free}]}}]"#)),
                "models[1].model",
            ),
        ] {
            assert_eq!(Prices::parse(text).expect_err(text).field, field);
        }
        assert_eq!(
            Prices::parse(&price(free)).expect("a table").micro_dollars(
                "m",
                at("2026-11-29T12:00:00Z"),
                9,
                9
            ),
            Some(0)
        );
    }
}
