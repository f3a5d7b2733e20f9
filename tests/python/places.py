"""What the shipped ranges of cloud providers say of addresses, by Python's ipaddress alone.

Reads FILE (weir-clouds 1, zstd) and prints COUNT lines of an address, its service and its region, separated by
tabs; most of the addresses are in a range or just outside of one.
"""

import ipaddress
import random
import sys

import pyarrow

path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
text = pyarrow.input_stream(path, compression="zstd").read().decode()
magic, *lines = text.splitlines()
assert magic == "weir-clouds 1", magic
networks = {}
for line in lines:
    _, service, region, prefix = line.split("\t")
    networks[ipaddress.ip_network(prefix)] = (service, region)
lengths = {
    version: sorted({n.prefixlen for n in networks if n.version == version}, reverse=True) for version in (4, 6)
}


def find(address):
    for length in lengths[address.version]:
        found = networks.get(ipaddress.ip_network((address, length), strict=False))
        if found:
            return found
    return ("", "")


random.seed(seed)
known = sorted(networks, key=str)
addresses = set()
while len(addresses) < count:
    network = random.choice(known)
    first, last = int(network.network_address), int(network.broadcast_address)
    kind = type(network.network_address)
    number = random.choice(
        [first, last, first - 1, last + 1, random.randint(first, last), random.getrandbits(network.max_prefixlen)]
    )
    # Addresses of the documentation have a meaning of their own to nobody here.
    addresses.add(kind(number % (1 << network.max_prefixlen)))
for address in sorted(addresses, key=str):
    service, region = find(address)
    print(address, service, region, sep="\t")
