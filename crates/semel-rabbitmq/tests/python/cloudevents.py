"""A service that is not written with Semel: it speaks CloudEvents over RabbitMQ.

    cloudevents.py publish ADDRESS QUEUE     sends one event to an endpoint's queue
    cloudevents.py announce ADDRESS EXCHANGE publishes one event to whoever subscribes
    cloudevents.py consume ADDRESS QUEUE     takes one event and prints it as JSON
"""

import json
import sys
import time

import pika


def event(kind):
    """An event in the binary mode: attributes as headers, data as body."""
    headers = {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:id": "py-1 ü%41",
        "cloudEvents:source": "/python",
        "cloudEvents:type": kind,
        "cloudEvents:subject": "customer/7",
        "cloudEvents:time": "2026-12-24T18:00:00.007Z",
        "cloudEvents:attempt": 3,
        "cloudEvents:urgent": True,
        "another": "header that is no attribute",
    }
    return pika.BasicProperties(headers=headers, content_type="application/json", delivery_mode=2)


def main(verb, address, place):
    connection = pika.BlockingConnection(pika.URLParameters(address))
    channel = connection.channel()
    if verb == "consume":
        until = time.monotonic() + 20
        while time.monotonic() < until:
            method, properties, body = channel.basic_get(place)
            if method is not None:
                channel.basic_ack(method.delivery_tag)
                attributes = {
                    name: value
                    for name, value in properties.headers.items()
                    if name.startswith("cloudEvents:")
                }
                print(
                    json.dumps(
                        {
                            "attributes": attributes,
                            "content_type": properties.content_type,
                            "delivery_mode": properties.delivery_mode,
                            "body": body.decode(),
                        }
                    )
                )
                break
            time.sleep(0.05)
        else:
            sys.exit("nothing came")
    else:
        kind = "order.placed"
        exchange, key = ("", place) if verb == "publish" else (place, kind)
        channel.confirm_delivery()
        # Raises if the message is returned or not confirmed.
        channel.basic_publish(exchange, key, b'{"total": 3.50}', event(kind), mandatory=True)
    connection.close()


main(*sys.argv[1:])
