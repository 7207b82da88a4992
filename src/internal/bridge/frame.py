"""Frames between a TypeScript program and a Python one: frame.ts is the other side.

A frame is a 4-byte length of what follows, a 4-byte length of its header (both little endian), the header (JSON, one
object) and the bytes that JSON cannot express, whose lengths the header tells as "blobs".
"""
import json
import struct

PROTOCOL = 1
LIMIT = 64 * 1024 * 1024

_head = struct.Struct("<II")


class ProtocolError(Exception):
    pass


def encode(header, blobs=()):
    """A frame. Text may hold what os.fsdecode made of bytes that are not UTF-8: JSON escapes it."""
    if blobs:
        header["blobs"] = [len(blob) for blob in blobs]
    text = json.dumps(header).encode()
    length = 4 + len(text) + sum(map(len, blobs))
    if length > LIMIT:
        raise ProtocolError("a message of %d bytes; %d is the most" % (length, LIMIT))
    return b"".join((_head.pack(length, len(text)), text, *blobs))


class Decoder:
    """Bytes in, as they come; whole messages out, as (header, blobs)."""

    def __init__(self):
        self.parts, self.size = [], 0
        self.wanted = 8  # bytes that are needed before more can be said

    def feed(self, data):
        self.parts.append(data)
        self.size += len(data)
        if self.size < self.wanted:
            return []  # joined once, when a frame is whole
        buffer = data if len(self.parts) == 1 else b"".join(self.parts)
        at, size, messages = 0, len(buffer), []
        self.wanted = 8
        while size - at >= 8:
            length, text = _head.unpack_from(buffer, at)
            if length > LIMIT or text > length - 4:
                raise ProtocolError("a frame of %d bytes with a header of %d" % (length, text))
            if size - at - 4 < length:
                self.wanted = 4 + length
                break
            body = at + 8 + text
            at += 4 + length
            header = json.loads(str(buffer[body - text:body], "utf-8"))
            blobs = []
            for n in header.get("blobs", ()):
                blobs.append(buffer[body:body + n])
                body += n
            if body > at:
                raise ProtocolError("a frame shorter than its blobs")
            messages.append((header, blobs))
        rest = buffer[at:] if at else buffer
        self.parts, self.size = [rest] if rest else [], len(rest)
        return messages
