// The bundle is not checked: its users are few, and its parts have types of their own.
declare const bundle: any;
export = bundle;
