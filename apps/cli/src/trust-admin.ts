// The trust root's rotation as commands and tours use it.
import type { RotationDocument } from '@isthmus/identity';
import { call, type RpcChannel, trust } from '@isthmus/rpc';

const TIMEOUT_MS = 10_000;

export type RotateRequest = {
  readonly action: 'begin' | 'pause' | 'resume' | 'rollback' | 'without';
  readonly without?: readonly string[];
  readonly compromised?: boolean;
  readonly holdBefore?: string;
};

export interface RotationApi {
  /** How things stand after it. **Throws** IDENTITY_ROTATION_REFUSED. */
  rotate(request: RotateRequest): Promise<RotationDocument>;
  rotation(): Promise<RotationDocument>;
}

/** The rotation over an open channel. */
export function rotationApi(channel: RpcChannel): RotationApi {
  const client = channel.client(trust.TrustRootAdminClient);
  const limit = { timeoutMs: TIMEOUT_MS };
  const read = ({ document }: trust.RotationStatus): RotationDocument => JSON.parse(Buffer.from(document).toString('utf8')) as RotationDocument;
  return {
    rotate: async ({ action, without = [], compromised = false, holdBefore = '' }) =>
      read(await call(client.rotate.bind(client), { action, without: [...without], compromised, holdBefore }, limit)),
    rotation: async () => read(await call(client.getRotation.bind(client), {}, limit)),
  };
}
