// MQTT.js against a broker: connects, subscribes, publishes in order, and prints what it saw as one JSON object.
// Options come as one JSON argument: url, ca, cert, key (files), version (4 or 5), count, denied (a topic).
'use strict'

const fs = require('node:fs')
const mqtt = require('mqtt')

const options = JSON.parse(process.argv[2])
const seen = { received: [], order: [], closed: 0 }
const client = mqtt.connect(options.url, {
  ca: fs.readFileSync(options.ca),
  cert: fs.readFileSync(options.cert),
  key: fs.readFileSync(options.key),
  clientId: `mqttjs-${options.version}`,
  protocolVersion: options.version,
  reconnectPeriod: 0,
  will: { topic: 'lab/mqttjs/gone', payload: 'gone', qos: 1, retain: false },
})

function finish () {
  process.stdout.write(JSON.stringify(seen))
  process.exit(0)
}

client.on('error', (error) => { seen.error = String(error.code ?? error.message) })
client.on('disconnect', (packet) => { seen.disconnect = packet.reasonCode })
client.on('close', finish)
client.on('message', (topic, payload, packet) => {
  seen.received.push(Number(payload.toString()))
  seen.properties = packet.properties
})
client.on('connect', async (connack) => {
  seen.connack = connack
  const granted = await client.subscribeAsync({ 'lab/mqttjs/data': { qos: 1 }, [options.denied]: { qos: 1 } })
    .catch((error) => { seen.subscribeError = String(error.message); return [] })
  seen.granted = granted.map((one) => one.qos)
  const properties = {
    contentType: 'text/plain',
    responseTopic: 'lab/answer',
    correlationData: Buffer.from('42'),
    userProperties: { unit: ['a', 'b'] },
    messageExpiryInterval: 60,
    topicAlias: 1,
  }
  for (let number = 0; number < options.count; number++) {
    const message = options.version === 5 ? { qos: 1, properties } : { qos: 1 }
    await client.publishAsync(number && options.version === 5 ? '' : 'lab/mqttjs/data', String(number), message)
  }
  while (seen.received.length < options.count) await new Promise((resolve) => client.once('message', resolve))
  try {
    await client.publishAsync(options.denied, 'x', { qos: 1 })
  } catch (error) {
    seen.denied = error.code
  }
  if (options.version === 5) client.end()
})
