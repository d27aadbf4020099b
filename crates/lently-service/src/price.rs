//! What tokens cost, from a dated table. An unknown model has no price: its cost stays zero, not guessed.

use lently_cache::Cost;

/// Paid-tier list prices of <https://ai.google.dev/gemini-api/docs/pricing>, as a third party read them on 2026-10-07 and the
/// price table of litellm 1.109.1 confirms. Thinking is billed as output. `gemini-3.8-flash` doubles after 2026-12-31.
/// One dollar per million tokens is a thousand nano-dollars per token.
const TABLE: [Price; 7] = [
    Price { model: "gemini-3.5-flash-lite", input_nano: 300, output_nano: 2_500 },
    Price { model: "gemini-3.5-flash", input_nano: 1_500, output_nano: 9_000 },
    Price { model: "gemini-3.8-flash", input_nano: 750, output_nano: 3_750 },
    Price { model: "gemini-3.1-flash-lite", input_nano: 250, output_nano: 1_500 },
    Price { model: "gemini-3.1-pro-preview", input_nano: 2_000, output_nano: 12_000 },
    Price { model: "gemini-2.5-flash", input_nano: 300, output_nano: 2_500 },
    Price { model: "gemini-2.5-flash-lite", input_nano: 100, output_nano: 400 },
];

struct Price {
    model: &'static str,
    input_nano: u64,
    output_nano: u64,
}

/// The cost of some tokens of a model in millionths of a dollar, rounded up.
pub fn micro_dollars(model: &str, tokens_in: u64, tokens_out: u64) -> u64 {
    TABLE.iter().find(|price| price.model == model).map_or(0, |price| {
        let input = tokens_in.saturating_mul(price.input_nano);
        let output = tokens_out.saturating_mul(price.output_nano);
        input.saturating_add(output).div_ceil(1_000)
    })
}

/// The cost entry of some tokens of a model.
pub(crate) fn token_cost(model: &str, tokens_in: u64, tokens_out: u64) -> Cost {
    let micro_dollars = micro_dollars(model, tokens_in, tokens_out);
    Cost { tokens_in, tokens_out, micro_dollars, ..Cost::default() }
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
    fn a_million_tokens_cost_the_list_price() {
        assert_eq!(micro_dollars("gemini-3.5-flash-lite", 1_000_000, 1_000_000), 2_800_000);
        assert_eq!(micro_dollars("gemini-3.5-flash-lite", 1, 0), 1);
        assert_eq!(micro_dollars("somebody-elses-model", 1_000_000, 1), 0);
    }
}
