"""Layers of extreme shapes, made of bytes that compress about as programs do (to 40 %), the same every time."""
import random, tarfile

PIECE = 1 << 20


def material(seed=1, size=32 * PIECE):
    """Bytes: words of a small vocabulary, and noise."""
    source = random.Random(seed)
    words = [source.randbytes(source.randint(3, 12)) for _ in range(4000)]
    out = bytearray()
    while len(out) < size:
        out += b"".join(source.choices(words, k=400))
        out += source.randbytes(400)
    return bytes(out[:size])


def header(name, size):
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 1_700_000_000
    return member.tobuf(tarfile.PAX_FORMAT)


def one_giant(out, gigabytes):
    """`gigabytes` GB in 1,000 entries, eight tenths of them in one file."""
    block = material()
    giant = gigabytes * 800_000_000
    out.write(header("giant", giant))
    number = left = 0
    left = giant
    while left:
        # The number at the front of each piece keeps the giant from being one block again and again.
        at = number % (len(block) - PIECE)
        piece = (number.to_bytes(8, "little") + block[at:at + PIECE - 8])[:left]
        out.write(piece)
        left -= len(piece)
        number += 4099
    out.write(bytes(-giant % 512))
    rest = gigabytes * 200_000_000 // 999
    for file in range(999):
        at = file * 12_345 % (len(block) - rest) if rest < len(block) else 0
        content = block[at:at + rest]
        out.write(header("rest/%03d" % file, len(content)) + content + bytes(-len(content) % 512))
    out.write(bytes(1024))


def many_files(out, count):
    """`count` files of up to 200 bytes in folders of a thousand."""
    block = material(size=PIECE)
    for file in range(count):
        at = file * 7919 % (len(block) - 200)
        content = block[at:at + file % 200]
        out.write(header("d%03d/f%03d" % (file // 1000, file % 1000), len(content)) + content + bytes(-len(content) % 512))
    out.write(bytes(1024))
