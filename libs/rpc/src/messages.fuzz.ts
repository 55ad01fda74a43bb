// Fuzz target: bytes of every RPC message decode or are refused by an Error, and what decodes encodes to the same meaning.
import { splitAddress, toTarget } from './address.ts';
import { ApplyRequest } from './gen/isthmus/v1/admin.ts';
import { SubscribeRequest, SubscribeResponse } from './gen/isthmus/v1/discovery.ts';
import { DiscoveryRequest } from './gen/envoy/service/discovery/v3/discovery.ts';
import { IssueJwtSvidRequest, JoinRequest, SvidResponse } from './gen/isthmus/v1/identity.ts';
import { FederationView, PublishJwtKeysRequest } from './gen/isthmus/v1/trust.ts';
import { JWTSVIDRequest, ValidateJWTSVIDRequest } from './gen/spiffe/workload.ts';
import { RangeRequest, TxnRequest, WatchRequest } from './gen/etcd/rpc.ts';

type Codec = { decode(input: Uint8Array): unknown; encode(message: never): { finish(): Uint8Array } };

const codecs: readonly Codec[] = [ApplyRequest, SubscribeRequest, SubscribeResponse, JoinRequest, SvidResponse, FederationView, RangeRequest, TxnRequest, WatchRequest, DiscoveryRequest, JWTSVIDRequest, ValidateJWTSVIDRequest, IssueJwtSvidRequest, PublishJwtKeysRequest];

/** The first byte chooses the message. */
const seeds = [
  Buffer.concat([Buffer.from([1]), SubscribeRequest.encode(SubscribeRequest.fromPartial({})).finish()]),
  Buffer.from([1, 10, 6, 10, 4, 101, 97, 115, 116]),
  Buffer.from([2, 10, 8, 8, 1, 16, 7, 26, 2, 123, 125]),
  Buffer.from([7, 26, 6, 26, 4, 10, 2, 97, 98]),
  Buffer.from('\u000010.0.0.1:7100'),
  Buffer.from('\u0000[fe80::1%eth0]:7100'),
];

export const target = {
  name: 'rpc-messages',
  seeds,
  dictionary: [Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Buffer.from([0x0b]), Buffer.from([0x0c]), Buffer.from([0x0a, 0x80, 0x80, 0x04]), '[::1]:', ':65536'],
  maxBytes: 1_024,
  run(input: Buffer): void {
    const codec = codecs[(input[0] ?? 0) % codecs.length];
    const bytes = input.subarray(1);
    let message: unknown;
    try {
      message = codec?.decode(bytes);
    } catch (error) {
      if (!(error instanceof Error)) throw new Error('refused by something that is no Error', { cause: error });
      message = undefined;
    }
    if (codec !== undefined && message !== undefined) {
      const once = Buffer.from(codec.encode(message as never).finish());
      const again = Buffer.from(codec.encode(codec.decode(once) as never).finish());
      if (!once.equals(again)) throw new Error(`${once.toString('hex')} encodes again as ${again.toString('hex')}`);
    }
    checkAddress(bytes.toString('latin1'));
  },
};

function checkAddress(text: string): void {
  let split;
  try {
    split = splitAddress(text);
  } catch (error) {
    if (error instanceof TypeError) return;
    throw error;
  }
  if (split.host === '' || !Number.isInteger(split.port) || split.port < 0 || split.port > 65_535) throw new Error(`${JSON.stringify(text)} is taken as ${split.host} ${split.port}`);
  toTarget([text, text]);
}
