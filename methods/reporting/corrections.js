"use strict";
(() => {
  const choices = [...document.querySelectorAll("[data-image-id]")];
  const button = document.getElementById("download");
  const count = document.getElementById("chosen");
  const none = "|";
  const boxes = (choice) => [...choice.querySelectorAll("input")];
  const label = (choice) => choice.tagName === "SELECT"
    ? choice.value
    : boxes(choice).filter((box) => box.checked).map((box) => box.value).join("|");
  const chosen = () => choices.filter((choice) => label(choice) !== "");
  const cell = (text) => `"${text.replaceAll('"', '""')}"`;
  let saved = true;

  const show = () => {
    const n = chosen().length;
    count.textContent = n === 1 ? "1 image labelled." : `${n} images labelled.`;
    button.disabled = n === 0;
  };

  const download = () => {
    const lines = chosen().map((choice) => `${choice.dataset.imageId},${cell(label(choice))}\r\n`);
    const file = new Blob(["image_id,label\r\n", ...lines], { type: "text/csv" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "manifest.csv";
    link.click();
    URL.revokeObjectURL(link.href);
    saved = true;
  };

  document.querySelectorAll(".correction").forEach((part) => { part.hidden = false; });
  choices.forEach((choice) => choice.addEventListener("change", (event) => {
    const { checked, value } = event.target;
    const excluded = (box) => box !== event.target && (box.value === none || value === none);
    if (checked) boxes(choice).filter(excluded).forEach((box) => { box.checked = false; });
    saved = false;
    show();
  }));
  button.addEventListener("click", download);
  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  show();
})();
