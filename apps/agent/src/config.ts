// Every setting of an agent: name, type, unit, default and what it is for.
import { captureSchema } from '@isthmus/dataplane';
import { membershipSettings } from '@isthmus/identity';
import { byLabel, schemas, type Static, strict, Type, workloadSchema } from '@isthmus/model';
import { handOverSettings, healthSchema, logSchema } from '@isthmus/runtime';

const serviceName = Type.String({ pattern: '^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$', description: 'namespace/service' });
const port = Type.Integer({ minimum: 0, maximum: 65_535 });
const LOOPBACK = '127.0.0.1';

export const configSchema = strict({
  name: Type.Optional(Type.String({ description: 'name of this agent; must be the one its join token was made for, or its attestation gives (default: that one)' })),
  ...membershipSettings,
  network: Type.String({ default: 'default', description: 'network whose addresses this agent reaches, and is reached in, directly', maxLength: 63 }),
  locality: Type.String({ default: '', description: 'region/zone/sub-zone of this machine', maxLength: 200 }),
  advertise: Type.Optional(Type.String({ description: 'address at which others in its network reach this agent (default: inbound.host)' })),
  inbound: Type.Optional(
    strict({
      host: Type.Optional(Type.String({ default: LOOPBACK, description: 'address of the inbound listeners' })),
      portRange: Type.Optional(Type.String({ pattern: '^[0-9]{1,5}-[0-9]{1,5}$', description: 'ports for inbound listeners, such as 20000-20099 (default: any free one)' })),
    }),
  ),
  outbound: Type.Optional(
    strict({
      host: Type.Optional(Type.String({ default: LOOPBACK, description: 'address of the listeners named below' })),
      listeners: Type.Optional(
        Type.Array(
          strict({
            service: serviceName,
            portName: Type.Optional(Type.String({ description: 'name of the service port (default: the service’s first)' })),
            protocol: Type.Optional(Type.Union([Type.Literal('http'), Type.Literal('http2'), Type.Literal('grpc'), Type.Literal('tcp')], { description: 'until the service is known (default: http)' })),
            port: Type.Optional(port),
            host: Type.Optional(Type.String()),
          }),
          { maxItems: 4_096 },
        ),
      ),
      all: Type.Optional(Type.Boolean({ default: false, description: 'a listener for every service in the snapshot, each on an address of its own' })),
      addressRange: Type.Optional(Type.String({ default: '127.64.0.0/16', pattern: '^[0-9.]+/[0-9]{1,2}$', description: 'addresses for the same' })),
    }),
  ),
  engine: Type.Optional(
    Type.Union([Type.Literal('auto'), Type.Literal('linux'), Type.Literal('portable')], {
      default: 'auto',
      description: 'what moves the bytes: linux (epoll and OpenSSL on a thread of its own), portable (Node’s own sockets), auto (linux where it runs)',
    }),
  ),
  identity: Type.Optional(strict({ callAs: Type.Optional(serviceName) })),
  dns: Type.Optional(strict({ host: Type.Optional(Type.String({ default: LOOPBACK })), port })),
  capture: Type.Optional(captureSchema),
  workloads: Type.Optional(
    Type.Array(
      Type.Object(
        {
          ...workloadSchema.properties,
          inbound: Type.Optional(byLabel(port, { description: 'port of the inbound listener, by service port name' })),
        },
        { additionalProperties: false },
      ),
      { maxItems: 256 },
    ),
  ),
  kubernetes: Type.Optional(
    strict({
      nodeName: Type.String({ maxLength: 253, description: 'node whose pods this agent speaks for, as far as their Services are labelled isthmus/agent=node' }),
      kubeconfig: Type.Optional(Type.String({ maxLength: 4_096, description: 'kubeconfig (default: this pod’s own service account)' })),
      context: Type.Optional(Type.String({ maxLength: 512, description: 'context of the kubeconfig (default: its current one)' })),
      server: Type.Optional(Type.String({ maxLength: 2_048, description: 'in a pod: address of the API server (default: https://kubernetes.default.svc)' })),
      namespaces: Type.Optional(Type.Array(schemas.dnsLabel, { maxItems: 64, description: 'only these namespaces (default: all)' })),
    }),
  ),
  workloadsDir: Type.Optional(Type.String({ description: 'directory of workload files (*.yaml)' })),
  workloadApi: Type.Optional(
    strict({
      socket: Type.String({ description: 'Unix socket of the SPIFFE Workload API and of Envoy’s SDS, at most 107 bytes' }),
      mode: Type.Optional(Type.String({ default: '0666', pattern: '^0[0-7]{3}$', description: 'permissions of the socket; what a process gets is decided by the workloads’ selectors' })),
    }),
  ),
  drainMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000, default: 5_000, description: 'how long requests may still take when the agent stops' })),
  ...handOverSettings,
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for operators (default: <stateDir>/admin.sock)' })),
  health: healthSchema,
  log: logSchema,
});
export type Config = Static<typeof configSchema>;
