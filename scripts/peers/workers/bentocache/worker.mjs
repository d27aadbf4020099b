// bentocache: memory in front of Redis, a bus between processes, grace and timeouts.
// The protocol is told in scripts/peers/README.md.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'

const [redis, upstream] = process.argv.slice(2).map(Number)

async function fetchFrom(key) {
  const answer = await fetch(`http://127.0.0.1:${upstream}/${key}`)
  if (answer.ok) return answer.text()
  throw new Error(`upstream: ${answer.status}`)
}

const bento = new BentoCache({
  default: 'cache',
  prefix: 'peers',
  ttl: '60s',
  grace: '1h',
  stores: {
    cache: bentostore()
      .useL1Layer(memoryDriver({ maxItems: 10_000 }))
      .useL2Layer(
        redisDriver({
          // Without these, a command waits through twenty attempts to reconnect while Redis is away.
          connection: { host: '127.0.0.1', port: redis, maxRetriesPerRequest: 1, commandTimeout: 250 },
        }),
      )
      .useBus(redisBusDriver({ connection: { host: '127.0.0.1', port: redis } })),
  },
  suppressL2Errors: true,
  l2CircuitBreakerDuration: '500ms',
})

const LEFT = Symbol('left')

async function call(order, turn) {
  await sleep(turn * (order.every_ms ?? 0))
  const asked = bento.getOrSet({ key: order.key, factory: () => fetchFrom(order.key) })
  asked.catch(() => {})
  return Promise.race([asked, sleep(order.patience_ms, LEFT)])
}

async function obey(order) {
  const report = { id: order.id, answers: {}, failed: {}, left: 0 }
  const add = (to, what) => {
    to[what] = (to[what] ?? 0) + 1
  }
  if (order.what === 'delete') {
    await bento.delete({ key: order.key }).catch((error) => add(report.failed, String(error)))
  } else {
    await sleep(Math.max(0, (order.at_ms ?? 0) - Date.now()))
    const turns = Array.from({ length: order.callers }, (_, turn) => call(order, turn))
    for (const end of await Promise.allSettled(turns)) {
      if (end.status === 'rejected') add(report.failed, String(end.reason).slice(0, 120))
      else if (end.value === LEFT) report.left += 1
      else add(report.answers, end.value)
    }
  }
  process.stdout.write(JSON.stringify(report) + '\n')
}

// The bus and the connections are up once a look has gone through.
await bento.get({ key: 'nothing' })
process.stdout.write('{"ready": true}\n')
for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line))
process.exit(0)
