/** Which Holdfast this is. The build bakes the package's version in. */
import about from '../../package.json' with { type: 'json' };

export const version: string = about.version;
