"""A service in another language: CloudEvents in the binary mode, without anything of Semel.

    interop.py publish URL SUBJECT       sends an event, confirmed by JetStream
    interop.py serve URL STREAM          takes one event from the endpoint's queue, prints it as
                                         JSON, and acknowledges it
"""

import asyncio
import json
import sys

import nats


async def publish(js, subject):
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "py-1",
        "ce-source": "/python",
        "ce-type": "order.placed",
        "ce-subject": "customer/7 %E2%80%93 %C3%84",
        "ce-time": "2026-12-24T18:00:00Z",
        "ce-partitionkey": "7",
        "content-type": "application/json",
    }
    ack = await js.publish(subject, b'{"total": 3}', headers=headers)
    print(json.dumps({"seq": ack.seq}))


async def serve(js, stream):
    queue = await js.pull_subscribe_bind(durable="workers", stream=stream)
    [message] = await queue.fetch(1, timeout=10)
    print(json.dumps({"headers": dict(message.headers), "data": message.data.decode()}))
    await message.ack_sync(timeout=5)


async def main():
    [verb, url, where] = sys.argv[1:]
    client = await nats.connect(url)
    await {"publish": publish, "serve": serve}[verb](client.jetstream(), where)
    await client.close()


asyncio.run(main())
