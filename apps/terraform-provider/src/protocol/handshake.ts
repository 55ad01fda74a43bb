// How Terraform and the programs it starts find each other: a cookie in the environment, one line on standard output, a certificate each way.
import { fail } from '../errors.ts';

/** What Terraform puts into the environment of its providers; it keeps people from starting one by hand. */
const COOKIE = { name: 'TF_PLUGIN_MAGIC_COOKIE', value: 'd602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2' } as const;

/** The version of the handshake itself, and of the protocol behind it. */
const CORE_VERSION = 1;
const PROTOCOL_VERSION = 6;

type Environment = Readonly<Record<string, string | undefined>>;

/** What Terraform asks for. `clientCertPem` is the certificate its connection will show; undefined: it wants no TLS. */
export type Handshake = { readonly clientCertPem: string | undefined };

/** Reads the environment. **Throws** TERRAFORM_NOT_STARTED, TERRAFORM_PROTOCOL. */
export function readHandshake(env: Environment): Handshake {
  if (env[COOKIE.name] !== COOKIE.value) {
    throw fail('TERRAFORM_NOT_STARTED', 'this is a Terraform provider; Terraform starts it', { hint: 'lay it out for Terraform with `isthmus terraform mirror DIRECTORY`' });
  }
  const versions = env['PLUGIN_PROTOCOL_VERSIONS'];
  if (versions !== undefined && !versions.split(',').includes(String(PROTOCOL_VERSION))) {
    throw fail('TERRAFORM_PROTOCOL', `Terraform speaks versions ${versions} of its plug-in protocol, this provider speaks ${PROTOCOL_VERSION}`, { hint: 'use Terraform 1.0 or newer' });
  }
  const clientCertPem = env['PLUGIN_CLIENT_CERT'];
  return { clientCertPem: clientCertPem === undefined || clientCertPem === '' ? undefined : clientCertPem };
}

/** The one line of standard output: where to connect, and the certificate the server will show (DER), in base64 without padding. */
export function handshakeLine(socketPath: string, serverCa: Uint8Array | undefined): string {
  const certificate = serverCa === undefined ? '' : Buffer.from(serverCa).toString('base64').replaceAll('=', '');
  return `${CORE_VERSION}|${PROTOCOL_VERSION}|unix|${socketPath}|grpc|${certificate}\n`;
}
