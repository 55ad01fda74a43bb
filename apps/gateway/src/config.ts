// Every setting of a gateway: name, type, unit, default and what it is for.
import { membershipSettings } from '@isthmus/identity';
import { schemas, type Static, strict, Type } from '@isthmus/model';
import { handOverSettings, healthSchema, logSchema } from '@isthmus/runtime';

const limitMs = (defaultMs: number, description: string) => Type.Optional(Type.Integer({ minimum: 10, maximum: 86_400_000, default: defaultMs, description }));
const limitCount = (count: number, description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, default: count, description }));

export const configSchema = strict({
  ...membershipSettings,
  network: Type.String({ default: 'default', description: 'network this gateway stands in', maxLength: 63 }),
  locality: Type.String({ default: '', description: 'region/zone/sub-zone of this gateway', maxLength: 200 }),
  listen: strict({
    host: Type.String({ default: '0.0.0.0', description: 'address of the one open port' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 15_443, description: 'the one open port' }),
  }),
  advertise: Type.Optional({ ...schemas.hostPort, description: 'how peers reach it, as in `gateways` of the control plane: left out there while it drains (default: `listen`, where that names an address)' }),
  engine: Type.Optional(
    Type.Union([Type.Literal('auto'), Type.Literal('linux'), Type.Literal('portable')], {
      default: 'auto',
      description: 'what relays: `linux` (worker threads, epoll and splice; nothing else when asked for by name), `portable` (Node’s own sockets), or whichever of them can run here',
    }),
  ),
  workers: Type.Optional(Type.Integer({ minimum: 1, maximum: 64, description: 'worker threads of the linux engine (default: one per processor, at most 8)' })),
  proxyProtocol: Type.Optional(
    strict({
      acceptFrom: Type.Optional(
        Type.Array(Type.String({ pattern: '^[0-9a-fA-F:.]+/[0-9]{1,3}$', maxLength: 50 }), {
          default: [],
          maxItems: 256,
          description: 'CIDR ranges of load balancers that begin every connection with a PROXY protocol v2 header; from nobody else is one taken',
        }),
      ),
      send: Type.Optional(Type.Boolean({ default: false, description: 'begin connections to endpoints with a PROXY v2 header that names the caller; every endpoint must expect it' })),
    }),
  ),
  reserved: strict({
    'control-plane': Type.Optional(schemas.hostPort),
    store: Type.Optional(schemas.hostPort),
    'trust-root': Type.Optional(schemas.hostPort),
    admin: Type.Optional(schemas.hostPort),
    bundle: Type.Optional(schemas.hostPort),
  }),
  limits: Type.Optional(
    strict({
      helloMs: limitMs(5_000, 'from accept to a whole ClientHello'),
      connectMs: limitMs(2_000, 'to connect to one endpoint'),
      idleMs: limitMs(3_600_000, 'without a byte in either direction'),
      connections: limitCount(16_384, 'connections open at once'),
      endpointConnections: limitCount(8_192, 'connections to one endpoint'),
      departedMs: limitMs(60_000, 'connections to an endpoint that left the snapshot go on for'),
      hellos: limitCount(4_096, 'connections without a whole ClientHello yet'),
    }),
  ),
  drainMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000, default: 5_000, description: 'how long connections may go on when the gateway stops' })),
  ...handOverSettings,
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for operators (default: <stateDir>/admin.sock)' })),
  health: healthSchema,
  log: logSchema,
});
export type Config = Static<typeof configSchema>;
