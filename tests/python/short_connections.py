"""Many short HTTP connections: `server ADDRESS PORT`, or `client ADDRESS PORT COUNT SECONDS`.

The client prints how many it made, in how many seconds, and the payload bytes that it sent and
received, as JSON.
"""
import json, socket, sys, threading, time

BODY = b"x" * 700
REPLY = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def answer(connection):
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        connection.sendall(REPLY)


def server(address, port):
    listener = socket.create_server((address, port), backlog=1024)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def client(address, port, count, seconds):
    sent = received = 0
    begin = time.monotonic()
    for i in range(count):
        time.sleep(max(0, begin + i * seconds / count - time.monotonic()))
        request = b"GET /%d HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" % i
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.sendall(request)
            sent += len(request)
            while data := connection.recv(65536):
                received += len(data)
    elapsed = time.monotonic() - begin
    print(json.dumps(
        {"connections": count, "elapsed": elapsed, "sent": sent, "received": received}))


if sys.argv[1] == "server":
    server(sys.argv[2], int(sys.argv[3]))
else:
    client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
