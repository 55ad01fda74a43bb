// A link between two network namespaces that loses, repeats, delays and spoils packets: two TUN devices and this process
// between them, for kernels without netem. Started by bad-link.test.ts; takes a line of JSON for each new quality of the
// link, and answers each with a line of what it has done so far.
import { execFileSync } from 'node:child_process';
import { constants, openSync, read, write } from 'node:fs';
import { createInterface } from 'node:readline';
import koffi from 'koffi';

export type Quality = {
  readonly lossPercent: number;
  readonly duplicatePercent: number;
  /** Each packet waits for up to so long by chance, so that later ones overtake it. */
  readonly jitterMs: number;
  /** A bit of the TCP payload flips and the checksum is put right again, as in a broken switch. */
  readonly flipPercent: number;
};

const TUNSETIFF = 0x4004_54ca;
const IFF_TUN = 1;
const IFF_NO_PI = 0x1000;
const MAX_PACKET_BYTES = 65_536;
const ioctl = koffi.load(null).func('int ioctl(int, unsigned long, void *)') as unknown as (fd: number, request: number, argument: Uint8Array) => number;

let quality: Quality = { lossPercent: 0, duplicatePercent: 0, jitterMs: 0, flipPercent: 0 };
const done = { passed: 0, lost: 0, repeated: 0, flipped: 0 };
const happens = (percent: number): boolean => Math.random() * 100 < percent;

function openDevice(name: string): number {
  const fd = openSync('/dev/net/tun', constants.O_RDWR);
  const request = Buffer.alloc(40);
  request.write(name, 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI, 16);
  if (ioctl(fd, TUNSETIFF, request) < 0) throw new Error(`no TUN device ${name}`);
  return fd;
}

/** Flips one bit of the payload and mends the checksum (RFC 1624); false where there is no payload. */
function flip(packet: Buffer): boolean {
  if (packet.length < 40 || (packet.readUInt8(0) >> 4) !== 4 || packet[9] !== 6) return false;
  const tcp = (packet.readUInt8(0) & 15) * 4;
  const payload = tcp + (packet.readUInt8(tcp + 12) >> 4) * 4;
  if (payload >= packet.length) return false;
  const at = payload + Math.floor(Math.random() * (packet.length - payload));
  const flipped = packet.readUInt8(at) ^ (1 << Math.floor(Math.random() * 8));
  // Words of the checksum begin where TCP does; the odd byte at the end is the high one.
  const isHigh = (at - tcp) % 2 === 0;
  const before = isHigh ? packet.readUInt8(at) << 8 : packet.readUInt8(at);
  const after = isHigh ? flipped << 8 : flipped;
  let sum = (~packet.readUInt16BE(tcp + 16) & 0xffff) + (~before & 0xffff) + after;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, tcp + 16);
  packet[at] = flipped;
  return true;
}

function carry(from: number, to: number): void {
  const buffer = Buffer.alloc(MAX_PACKET_BYTES);
  const next = (): void =>
    read(from, buffer, 0, buffer.length, null, (error, length) => {
      if (error !== null) throw error;
      pass(Buffer.from(buffer.subarray(0, length)), to);
      next();
    });
  next();
}

function pass(packet: Buffer, to: number): void {
  if (happens(quality.lossPercent)) return void (done.lost += 1);
  if (happens(quality.flipPercent) && flip(packet)) done.flipped += 1;
  const isTwice = happens(quality.duplicatePercent);
  if (isTwice) done.repeated += 1;
  done.passed += 1;
  const send = (): void => {
    for (let i = 0; i < (isTwice ? 2 : 1); i++) write(to, packet, () => undefined);
  };
  if (quality.jitterMs > 0) setTimeout(send, Math.random() * quality.jitterMs);
  else send();
}

const [near = '', far = '', space = '', nearAddress = '', farAddress = ''] = process.argv.slice(2);
const [nearFd, farFd] = [openDevice(near), openDevice(far)];
const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
ip('link', 'set', far, 'netns', space);
ip('addr', 'add', nearAddress, 'peer', farAddress, 'dev', near);
ip('link', 'set', near, 'up');
ip('-n', space, 'addr', 'add', farAddress, 'peer', nearAddress, 'dev', far);
ip('-n', space, 'link', 'set', far, 'up');
carry(nearFd, farFd);
carry(farFd, nearFd);
createInterface({ input: process.stdin }).on('line', (line) => {
  quality = JSON.parse(line) as Quality;
  process.stdout.write(`${JSON.stringify(done)}\n`);
});
process.stdout.write(`${JSON.stringify(done)}\n`);
