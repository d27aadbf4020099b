//! A tally in Redis: one text under one key, a line for each counter of a part and of a holder, changed by one script. So a cluster has
//! it in one slot, and the commands are those that leases need.
//!
//! | line | meaning |
//! |---|---|
//! | `t` part counter amount | a part has counted so much |
//! | `h` holder version left counter amount | a holder has set so much aside, for so many milliseconds since the text was written; counter `-` for nothing |
//!
//! How long ago it was written is told by what is left of the key's life, so that no clock is compared with another.

use std::time::Duration;

use super::{RedisClient, milliseconds};
use crate::{
    error::CacheError,
    tally::{Amounts, Holding, Part, Sums, TallyWanted},
};

/// First word of the keys of tallies.
const WORD: &str = "~tally:";
/// A tally that nobody has told anything for so long is over.
const LASTS: Duration = Duration::from_secs(3 * 24 * 3600);
/// Lines of one tally: some 2 MB at most, and some 10 ms of Redis' time. A line that has no place is refused, with all that came with it.
const MAX_LINES: usize = 10_000;

const EXCHANGE: &str = "\
local lasts, left, at = tonumber(ARGV[1]), redis.call('PTTL', KEYS[1]), 7
local since = left >= 0 and math.max(lasts - left, 0) or 0
local part, holder, version, holds = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local function amounts()
  local read, last = {}, at + 2 * tonumber(ARGV[at])
  for place = at + 1, last, 2 do read[ARGV[place]] = tonumber(ARGV[place + 1]) end
  at = last + 1
  return read
end
local counted, held = amounts(), amounts()
local wanted, amount, least, limit = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
local lines, totals, holding, late = {}, {}, {}, false
local function add(sums, counter, amount) sums[counter] = (sums[counter] or 0) + amount end
local function hold(holder, version, left, counter, amount)
  if counter ~= '-' then add(holding, counter, amount) end
  lines[#lines + 1] = string.format('h %s %.0f %.0f %s %.0f', holder, version, left, counter, amount)
end
for line in string.gmatch(redis.call('GET', KEYS[1]) or '', '([^\\n]+)\\n') do
  local by, counter, amount = string.match(line, '^t (%S+) (%S+) (%d+)$')
  if by and by == part then
    counted[counter] = math.max(counted[counter] or 0, tonumber(amount))
  elseif by then
    add(totals, counter, tonumber(amount))
    lines[#lines + 1] = line
  else
    local by, told, left, counter, amount = string.match(line, '^h (%S+) (%d+) (%d+) (%S+) (%d+)$')
    left = by and tonumber(left) - since or 0
    late = late or by == holder and tonumber(told) > version
    if left > 0 and (by ~= holder or tonumber(told) > version) then hold(by, tonumber(told), left, counter, tonumber(amount)) end
  end
end
for counter, amount in pairs(counted) do
  add(totals, counter, amount)
  lines[#lines + 1] = string.format('t %s %s %.0f', part, counter, amount)
end
local granted = 0
if not late then
  for counter, amount in pairs(held) do add(holding, counter, amount) end
  if wanted then
    granted = math.max(math.min(amount, limit - (totals[wanted] or 0) - (holding[wanted] or 0)), 0)
    if granted < least then granted = 0 end
    if granted > 0 then add(held, wanted, granted) add(holding, wanted, granted) end
  end
  local before = #lines
  for counter, amount in pairs(held) do
    lines[#lines + 1] = string.format('h %s %.0f %.0f %s %.0f', holder, version, holds, counter, amount)
  end
  if #lines == before then lines[#lines + 1] = string.format('h %s %.0f %.0f - 0', holder, version, holds) end
end
if #lines > tonumber(ARGV[2]) then return redis.error_reply('ERR the tally is full') end
redis.call('SET', KEYS[1], table.concat(lines, '\\n') .. '\\n', 'PX', ARGV[1])
local told = {{}, {}, {}}
for place, sums in ipairs({totals, counted, holding}) do
  for counter, amount in pairs(sums) do
    told[place][#told[place] + 1] = counter
    told[place][#told[place] + 1] = string.format('%.0f', amount)
  end
end
return {granted, told[1], told[2], told[3]}";

impl RedisClient {
    /// Whether our user may run the script; yes where nobody can be asked.
    pub(crate) fn may_tally(&self, name: &str) -> bool {
        self.may_script(&format!("{WORD}{name}"))
    }

    /// Tells and asks in one step.
    pub(crate) async fn exchange(
        &self,
        name: &str,
        part: &Part,
        holding: &Holding,
        wanted: Option<&TallyWanted>,
    ) -> Result<Sums, CacheError> {
        let mut script = redis::cmd("EVAL");
        script.arg(EXCHANGE).arg(1).arg(self.full(&format!("{WORD}{name}")));
        script.arg(milliseconds(LASTS)).arg(MAX_LINES);
        script.arg(&part.name).arg(&holding.holder).arg(holding.version).arg(milliseconds(holding.lasts));
        for amounts in [&part.totals, &holding.amounts] {
            script.arg(amounts.len());
            for (counter, amount) in amounts {
                script.arg(counter).arg(amount);
            }
        }
        if let Some(TallyWanted { counter, amount, least, limit }) = wanted {
            script.arg(counter).arg(amount).arg(least).arg(limit);
        }
        type Told = (u64, Vec<String>, Vec<String>, Vec<String>);
        let (granted, totals, part, held): Told = self.change(&script).await?;
        Ok(Sums { granted, totals: read(&totals), part: read(&part), held: read(&held) })
    }
}

fn read(told: &[String]) -> Amounts {
    let pairs = told.chunks_exact(2).filter_map(|pair| Some((pair[0].clone(), pair[1].parse().ok()?)));
    pairs.collect()
}
