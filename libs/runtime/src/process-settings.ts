// Settings that programs share: where they tell their health, how they log, how they hand over.
import { strict, Type } from '@isthmus/model';

/** `health:` of a program's configuration, for `serveHealth`; without it nothing is served. */
export const healthSchema = Type.Optional(
  strict({
    host: Type.String({ default: '127.0.0.1', description: 'address of /healthz, /readyz and /metrics' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, description: 'port of the same' }),
  }),
);

/** `log:` of a program's configuration, for `openLog`. */
export const logSchema = Type.Optional(
  strict({
    level: Type.Union([Type.Literal('error'), Type.Literal('warn'), Type.Literal('info'), Type.Literal('debug')], { default: 'info', description: 'the least that is written' }),
    format: Type.Union([Type.Literal('json'), Type.Literal('text')], { default: 'json', description: 'lines for programs or for people' }),
  }),
);

/** Settings of a program that hands over to its successor, as `runProcess` takes them. */
export const handOverSettings = {
  handOverDrainMs: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 86_400_000, default: 600_000, description: 'how long connections may go on in this process once a successor serves (SIGUSR2)' }),
  ),
  pidFile: Type.Optional(Type.String({ description: 'file with the id of the process that serves; a successor writes its own' })),
};
