export const keyVault = {};
